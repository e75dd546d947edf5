"""Fine-tuning a text classifier on labelled texts, and measuring one."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)

from callboard_shared.jobs.base import (
    FileInput,
    FileReference,
    Input,
    JobType,
    Limits,
    ModelReference,
    NewModelName,
    Output,
)
from callboard_shared.jobs.nlp.encode import DEFAULT_CLASSIFIER, DEFAULT_ENCODER, MAX_TEXT_CHARS

MAX_INLINE_ROWS = 50_000


def _as_text(label: object) -> object:
    """``1``, ``1.0`` (an integer too, to JSON Schema) and ``"1"`` are the same label."""
    if isinstance(label, float) and label.is_integer() and abs(label) <= 2**53:
        label = int(label)
    return str(label) if isinstance(label, int) and not isinstance(label, bool) else label


_LABEL_SCHEMA = {"anyOf": [{"type": "string", "maxLength": 200}, {"type": "integer"}], "title": "Label"}
Label = Annotated[
    str, StringConstraints(max_length=200), BeforeValidator(_as_text), WithJsonSchema(_LABEL_SCHEMA)
]


class Row(Input):
    text: str = Field(max_length=MAX_TEXT_CHARS)
    label: Label


class DatasetFile(FileInput):
    """A CSV, JSONL or Parquet file with the columns ``text`` and ``label``, or a data set of the hub."""

    hub: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="A data set of the Hugging Face hub, such as `imdb`.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(given is not None for given in (self.file_id, self.url, self.base64, self.hub)) != 1:
            raise ValueError("give one of 'file_id', 'url', 'base64' and 'hub', or a list of {text, label}")
        return self


def _kind(value: object) -> str:
    return "rows:list" if isinstance(value, list) else "file:object"


Dataset = Annotated[
    Annotated[list[Row], Field(min_length=1, max_length=MAX_INLINE_ROWS), Tag("rows:list")]
    | Annotated[DatasetFile, Tag("file:object")],
    Discriminator(_kind),
]


class FinetuneInput(Input):
    dataset: Dataset = Field(
        description="Labelled texts: a file, a list of {text, label}, or a hub data set."
    )
    eval_dataset: Dataset | None = Field(
        default=None, description="To measure on; a part of `dataset` that is not trained on if not given."
    )
    base_model: ModelReference = Field(default=DEFAULT_ENCODER, description="The encoder to start from.")
    epochs: int = Field(default=3, ge=1, le=1000)
    train_batch_size: int = Field(default=8, ge=1, le=1024)
    eval_batch_size: int = Field(default=8, ge=1, le=1024)
    learning_rate: float = Field(default=5e-5, gt=0, le=1)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    warmup_steps: int = Field(default=0, ge=0)
    max_length: int = Field(default=512, ge=4, le=8192, description="Tokens that are read of a text.")
    padding: Literal["dynamic", "max_length"] = Field(
        default="dynamic", description="To the longest text of a batch, or always to `max_length`."
    )
    train_samples: int = Field(default=1000, ge=1, description="Rows to train on, taken after shuffling.")
    eval_samples: int = Field(default=500, ge=1, description="Rows to measure on.")
    seed: int = Field(default=42, ge=0, le=2**31 - 1)
    save_steps: int = Field(
        default=10_000, ge=1, description="Steps between checkpoints; more are made by time."
    )
    save_total_limit: int = Field(default=2, ge=1, le=10, description="Checkpoints that are kept.")
    early_stopping_patience: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Epochs without a better eval_loss after which training stops.",
    )
    class_weights: bool = Field(default=False, description="Weigh rare labels more, for unequal data.")
    max_labels: int = Field(
        default=50, ge=2, le=1000, description="More labels than this are taken for a mistake."
    )
    name: NewModelName = Field(default="classifier", description="The model becomes `name@version`.")


class FinetuneEpoch(Output):
    epoch: int
    loss: float = Field(description="Mean training loss of the epoch.")
    eval_loss: float
    accuracy: float
    f1: float


class Confusion(Output):
    labels: list[str]
    matrix: list[list[int]] = Field(description="Row: the true label, column: the predicted one.")


class FinetuneFiles(Output):
    training_plot: FileReference = Field(description="PNG: losses and accuracy by epoch.")
    confusion_plot: FileReference = Field(description="PNG.")


class FinetuneOutput(Output):
    model: str = Field(description="`name@version`, to be named in nlp.classify and nlp.evaluate.")
    base_model: str
    history: list[FinetuneEpoch]
    accuracy: float = Field(description="Of the model that is kept, on the rows to measure on.")
    f1: float = Field(description="Macro mean over the labels.")
    confusion: Confusion
    train_samples: int
    eval_samples: int
    steps: int
    resumed_from_step: int | None = Field(
        default=None, description="Of the checkpoint, after a worker was lost."
    )
    files: FinetuneFiles


class EvaluateInput(Input):
    model: ModelReference = Field(default=DEFAULT_CLASSIFIER, description="A text classifier.")
    dataset: Dataset = Field(
        description="Labelled texts: a file, a list of {text, label}, or a hub data set."
    )
    batch_size: int = Field(default=8, ge=1, le=1024)
    max_samples: int | None = Field(default=None, ge=1, description="Rows to measure on; all if not given.")


class LabelReport(Output):
    label: str
    precision: float
    recall: float
    f1: float
    samples: int


class EvaluateOutput(Output):
    accuracy: float
    precision: float = Field(description="Macro mean over the labels.")
    recall: float = Field(description="Macro mean over the labels.")
    f1: float = Field(description="Macro mean over the labels.")
    labels: list[LabelReport]
    confusion: Confusion
    predictions: FileReference = Field(description="JSONL: text, label, predicted, score, scores.")
    samples: int
    model: str


_GOOD = ("A delight from start to finish.", "Warm, funny and wise.", "I would watch it again tonight.",
         "The best film of the year.", "Beautifully shot and well acted.", "A small wonder.",
         "It made me laugh and cry.", "Clever, quick and kind.", "Every scene shines.", "Simply great.",
         "A joy.", "What a lovely surprise.")  # fmt: skip
_BAD = ("A waste of two hours.", "Dull, loud and far too long.", "I left before the end.",
        "The worst film of the year.", "Badly lit and badly acted.", "A mess.",
        "It made me yawn and sigh.", "Slow, stale and cruel.", "Not one scene works.", "Simply awful.",
        "A bore.", "What a sad disappointment.")  # fmt: skip
_REVIEWS = [
    {"text": text, "label": label}
    for pair in zip(_GOOD, _BAD, strict=True)
    for text, label in zip(pair, ("positive", "negative"), strict=True)
]

FINETUNE = JobType(
    name="nlp.finetune",
    queue="nlp-train",
    input=FinetuneInput,
    output=FinetuneOutput,
    summary="Fine-tune an encoder into a text classifier of one's own.",
    example={"dataset": _REVIEWS, "epochs": 2, "learning_rate": 1e-4, "max_length": 32},
    limits=Limits(timeout_s=86_400),
    models={"base_model": ("embed", "classify")},
)

EVALUATE = JobType(
    name="nlp.evaluate",
    queue="nlp-train",
    input=EvaluateInput,
    output=EvaluateOutput,
    summary="Measure a text classifier on labelled texts: accuracy, F1, confusion, predictions.",
    example={"dataset": _REVIEWS[:8]},
    limits=Limits(timeout_s=21_600),
    models={"model": ("classify",)},
)
