"""Jobs of the NLP worker."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from callboard_shared.jobs.base import Batch, Input, JobType, Output

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
MAX_TEXT_CHARS = 200_000

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT_CHARS)]
"""A text that is not empty; what goes beyond a model's window is cut by its tokenizer, and said so."""

ModelName = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class EmbedInput(Input):
    texts: list[Text] = Field(min_length=1, max_length=2048, description="1 to 2,048 texts, none empty.")
    model: ModelName = Field(default=DEFAULT_ENCODER, description="A BERT-like encoder; see GET /v1/models.")
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
    model: ModelName = Field(default=DEFAULT_ENCODER, description="A BERT-like encoder; see GET /v1/models.")

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
    model: str


def _embed_chars(value: EmbedInput) -> int:
    return sum(map(len, value.texts))


def _similarity_chars(value: SimilarityInput) -> int:
    if value.pairs is not None:
        return sum(len(a) + len(b) for a, b in value.pairs)
    return len(value.query or "") + sum(map(len, value.candidates or ()))


EMBED = JobType(
    name="nlp.embed",
    queue="nlp",
    input=EmbedInput,
    output=EmbedOutput,
    summary="Turn texts into vectors with a BERT-family encoder.",
    example={"texts": ["A callboard shows the work that waits.", "Crews take their work from it."]},
    batch=Batch(max_jobs=64, by=("model",), weigh=_embed_chars, max_weight=32_768),
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
    batch=Batch(max_jobs=64, by=("model",), weigh=_similarity_chars, max_weight=32_768),
)
