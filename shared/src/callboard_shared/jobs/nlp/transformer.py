"""A Transformer of one's own: an encoder–decoder trained on text pairs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from callboard_shared.jobs.base import (
    Batch,
    FileInput,
    FileReference,
    Input,
    JobType,
    Limits,
    ModelReference,
    NewModelName,
    Output,
)

DEFAULT_TRANSFORMER = "numbers-ko"
MAX_INLINE_PAIRS = 100_000
LEAST_VOCABULARY = 259
"""Every byte has a token, so that no text is unknown; and three are marks."""
Side = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]


class TransformerTrainInput(Input):
    pairs: list[tuple[Side, Side]] | None = Field(
        default=None, min_length=1, max_length=MAX_INLINE_PAIRS, description="[source, target], in words."
    )
    file: FileInput | None = Field(
        default=None,
        description="CSV, TSV, JSONL or Parquet with the columns `source` and `target`.",
    )
    d_model: int = Field(default=512, ge=8, le=4096, description="Width; a multiple of `nhead`.")
    nhead: int = Field(default=8, ge=1, le=64, description="Attention heads.")
    num_encoder_layers: int = Field(default=6, ge=1, le=48)
    num_decoder_layers: int = Field(default=6, ge=1, le=48)
    dim_feedforward: int = Field(default=2048, ge=8, le=16_384)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    learning_rate: float = Field(default=1e-4, gt=0, le=1, description="Of Adam.")
    warmup_steps: int = Field(
        default=0, ge=0, description="Steps in which the learning rate rises to its value."
    )
    learning_rate_decay: Literal["none", "linear"] = Field(
        default="none", description="linear: after the warm-up it falls to 0 over the training."
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    epochs: int = Field(default=10, ge=1, le=10_000)
    batch_size: int = Field(default=32, ge=1, le=4096, description="Pairs a step.")
    max_length: int = Field(
        default=128, ge=4, le=4096, description="Tokens of a side; longer pairs are left out."
    )
    vocabulary_size: int = Field(
        default=8000,
        ge=LEAST_VOCABULARY,
        le=100_000,
        description="Tokens at most: the 256 bytes, three marks, and what is frequent in the pairs.",
    )
    eval_share: float = Field(
        default=0.1, ge=0, le=0.5, description="Share of the pairs that is only measured on; 0: none."
    )
    seed: int = Field(default=42, ge=0, le=2**31 - 1)
    name: NewModelName = Field(default="transformer", description="The model becomes `name@version`.")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.pairs is None) == (self.file is None):
            raise ValueError("give either 'pairs' or 'file'")
        if self.d_model % self.nhead:
            raise ValueError(f"d_model must be a multiple of nhead: {self.d_model} is none of {self.nhead}")
        return self


class TransformerEpoch(Output):
    epoch: int
    loss: float = Field(description="Mean cross entropy a token while training, smoothing left out.")
    eval_loss: float | None = None
    accuracy: float | None = Field(
        default=None, description="Share of right tokens, with the target so far given."
    )


class TransformerFiles(Output):
    training_plot: FileReference = Field(description="PNG: losses and accuracy by epoch.")


class TransformerTrainOutput(Output):
    model: str = Field(description="`name@version`, to be named in nlp.transformer.generate.")
    history: list[TransformerEpoch]
    vocabulary_size: int
    parameters: int
    train_pairs: int
    eval_pairs: int
    skipped_pairs: int = Field(description="Left out since a side was longer than `max_length`.")
    steps: int
    resumed_from_step: int | None = Field(
        default=None, description="Of the checkpoint, after a worker was lost."
    )
    files: TransformerFiles


class TransformerGenerateInput(Input):
    texts: list[Side] = Field(min_length=1, max_length=512)
    model: ModelReference = Field(
        default=DEFAULT_TRANSFORMER, description="A model of nlp.transformer.train."
    )
    max_length: int = Field(default=128, ge=1, le=4096, description="Tokens of an answer, at most.")
    beams: int = Field(default=1, ge=1, le=32, description="1: greedy; more: beam search of this width.")


class TransformerGenerateOutput(Output):
    texts: list[str] = Field(description="One a text, in order.")
    scores: list[float] = Field(
        description="By text: the answer's log-likelihood over ((5 + tokens) / 6)^0.6, the end counted as a token."
    )
    tokens: int = Field(description="Tokens written.")
    truncated: list[int] = Field(
        default_factory=list, description="Indices of answers that were cut at `max_length`."
    )
    model: str


_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_PAIRS = [[f"{a} {b}", f"{_DIGITS[a]} {_DIGITS[b]}"] for a in range(10) for b in range(10)]

TRANSFORMER_TRAIN = JobType(
    name="nlp.transformer.train",
    queue="nlp-train",
    input=TransformerTrainInput,
    output=TransformerTrainOutput,
    summary="Train an encoder–decoder Transformer on text pairs.",
    example={
        "pairs": _PAIRS, "d_model": 64, "nhead": 4, "num_encoder_layers": 1, "num_decoder_layers": 1,
        "dim_feedforward": 128, "epochs": 10, "learning_rate": 2e-3, "vocabulary_size": 300,
    },
    limits=Limits(timeout_s=86_400),
)  # fmt: skip

TRANSFORMER_GENERATE = JobType(
    name="nlp.transformer.generate",
    queue="nlp",
    input=TransformerGenerateInput,
    output=TransformerGenerateOutput,
    summary="Write texts from texts with a Transformer that was trained here.",
    example={"texts": ["407", "2026"]},
    batch=Batch(
        max_jobs=32,
        by=("model", "beams", "max_length"),
        weigh=lambda value: len(value.texts),
        max_weight=512,
    ),
    models={"model": ("seq2seq",)},
)
