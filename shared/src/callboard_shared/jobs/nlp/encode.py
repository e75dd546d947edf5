"""Texts to vectors, similarities and labels: what runs in one pass of an encoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from callboard_shared.jobs.base import Batch, Input, JobType, ModelReference, Output

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
DEFAULT_CLASSIFIER = "sentiment"
MAX_TEXT_CHARS = 200_000

_WINDOW = 512
"""Tokens that an encoder usually reads of one text; what goes beyond costs nothing."""
_BATCH_TOKENS = 16_384
"""Estimated tokens that jobs of one batch may have together: some eight passes of a CPU engine, so that a batch
does not outlast the patience of whoever comes next."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT_CHARS)]
"""A text that is not empty; what goes beyond a model's window is cut by its tokenizer, and said so."""


class EmbedInput(Input):
    texts: list[Text] = Field(min_length=1, max_length=2048, description="1 to 2,048 texts, none empty.")
    model: ModelReference = Field(
        default=DEFAULT_ENCODER, description="A BERT-like encoder; see GET /v1/models."
    )
    pooling: Literal["mean", "cls"] = Field(
        default="mean", description="Mean over the unmasked tokens, or the first token's state."
    )
    normalize: bool = Field(default=True, description="Scale each vector to length 1.")
    encoding: Literal["float", "base64"] = Field(
        default="float", description="JSON numbers, or base64 of little-endian float32."
    )


class EmbedOutput(Output):
    embeddings: list[list[float]] | list[str] = Field(description="One vector a text, in order.")
    dimensions: int = Field(description="Length of each vector.")
    tokens: int = Field(description="Tokens read, special tokens included, padding not.")
    truncated: list[int] = Field(
        default_factory=list,
        description="Indices of texts that were longer than the model reads, and were cut.",
    )
    model: str


class SimilarityInput(Input):
    pairs: list[tuple[Text, Text]] | None = Field(
        default=None, min_length=1, max_length=1024, description="Pairs of texts to compare."
    )
    query: Text | None = Field(default=None, description="One text to compare with each candidate.")
    candidates: list[Text] | None = Field(default=None, min_length=1, max_length=2047)
    model: ModelReference = Field(
        default=DEFAULT_ENCODER, description="A BERT-like encoder, or a Word2Vec model."
    )

    @model_validator(mode="after")
    def _one_way_of_asking(self) -> Self:
        by_query = self.query is not None and self.candidates is not None
        if by_query == (self.pairs is not None) or (self.query is None) != (self.candidates is None):
            raise ValueError("give either 'pairs', or both 'query' and 'candidates'")
        return self


class SimilarityOutput(Output):
    scores: list[float] = Field(description="Cosine in −1…1, one a pair or a candidate, in order.")
    ranking: list[int] | None = Field(default=None, description="Indices of the candidates, best first.")
    tokens: int
    unknown_words: list[str] | None = Field(
        default=None,
        description="With a Word2Vec model: words that it does not know, and that were left out.",
    )
    model: str


class ClassifyInput(Input):
    texts: list[Text] = Field(min_length=1, max_length=2048, description="1 to 2,048 texts, none empty.")
    model: ModelReference = Field(
        default=DEFAULT_CLASSIFIER, description="A text classifier, fine-tuned here or from elsewhere."
    )


class Classified(Output):
    label: str = Field(description="The most probable label.")
    score: float = Field(description="Its probability, 0…1.")
    scores: dict[str, float] = Field(description="The probability of each label.")


class ClassifyOutput(Output):
    results: list[Classified] = Field(description="One a text, in order.")
    tokens: int = Field(description="Tokens read, special tokens included, padding not.")
    truncated: list[int] = Field(
        default_factory=list,
        description="Indices of texts that were longer than the model reads, and were cut.",
    )
    model: str


def estimated_tokens(texts: Iterable[str]) -> int:
    """Tokens of some texts, roughly: a word piece takes four bytes of UTF-8, and a model reads no more than its
    window. The gateway has no tokenizer; the engine counts exactly."""
    return sum(min(_WINDOW, 2 + len(text.encode(errors="replace")) // 4) for text in texts)


def _texts(value: EmbedInput | ClassifyInput) -> int:
    return estimated_tokens(value.texts)


def _compared(value: SimilarityInput) -> int:
    if value.pairs is not None:
        return estimated_tokens(text for pair in value.pairs for text in pair)
    return estimated_tokens([value.query or "", *(value.candidates or ())])


EMBED = JobType(
    name="nlp.embed",
    queue="nlp",
    input=EmbedInput,
    output=EmbedOutput,
    summary="Turn texts into vectors with a BERT-family encoder.",
    example={"texts": ["A callboard shows the work that waits.", "Crews take their work from it."]},
    batch=Batch(max_jobs=256, by=("model",), weigh=_texts, max_weight=_BATCH_TOKENS),
    models={"model": ("embed",)},
)

SIMILARITY = JobType(
    name="nlp.similarity",
    queue="nlp",
    input=SimilarityInput,
    output=SimilarityOutput,
    summary="Cosine similarity of texts: in pairs, or one query against candidates.",
    example={
        "query": "How do I get my money back?",
        "candidates": ["Refunds are paid within a week.", "Our office is in Busan."],
    },
    batch=Batch(max_jobs=256, by=("model",), weigh=_compared, max_weight=_BATCH_TOKENS),
    models={"model": ("embed", "word2vec")},
)

CLASSIFY = JobType(
    name="nlp.classify",
    queue="nlp",
    input=ClassifyInput,
    output=ClassifyOutput,
    summary="Label texts, by default with their sentiment.",
    example={"texts": ["A moving film, wonderfully played.", "Two hours that I will never get back."]},
    batch=Batch(max_jobs=256, by=("model",), weigh=_texts, max_weight=_BATCH_TOKENS),
    models={"model": ("classify",)},
)
