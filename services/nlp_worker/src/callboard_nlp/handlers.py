"""Handlers of nlp.embed and nlp.similarity: one encoding for the texts of all jobs of a batch."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from callboard_nlp.engines import Encoded, Encoder, Pooling
from callboard_nlp.engines.interface import AfterPart, Floats
from callboard_shared.errors import JobError
from callboard_shared.jobs.nlp import EmbedInput, SimilarityInput
from callboard_shared.worker import Job

Outputs = Sequence[dict[str, Any] | JobError]
GetEncoder = Callable[[str], tuple[str, Encoder]]
"""From a model's name to its own name (the given one may be an alias) and its encoder; raises a JobError."""


class NlpHandlers:
    """Jobs of one call name the same model: their types' ``batch.by`` sees to it."""

    def __init__(self, get_encoder: GetEncoder) -> None:
        self._get_encoder = get_encoder

    def embed(self, jobs: Sequence[Job[EmbedInput]]) -> Outputs:
        texts = [job.input.texts for job in jobs]
        pooling: list[Pooling] = [job.input.pooling for job in jobs for _ in job.input.texts]
        model, parts = self._encode(jobs, texts, pooling)
        return [_embeddings(job, part, model) for job, part in zip(jobs, parts, strict=True)]

    def similarity(self, jobs: Sequence[Job[SimilarityInput]]) -> Outputs:
        texts = [_compared_texts(job.input) for job in jobs]
        pooling: list[Pooling] = ["mean"] * sum(map(len, texts))
        model, parts = self._encode(jobs, texts, pooling)
        return [_scores(job, part, model) for job, part in zip(jobs, parts, strict=True)]

    def _encode(
        self, jobs: Sequence[Job[Any]], texts: Sequence[Sequence[str]], pooling: Sequence[Pooling]
    ) -> tuple[str, list[Encoded]]:
        """The model's name, and each job's part of the encoding."""
        model, encoder = self._get_encoder(jobs[0].input.model)
        flat = [text for part in texts for text in part]
        encoded = encoder.encode(flat, pooling, _telling(jobs))
        ends = np.cumsum([len(part) for part in texts])
        return model, [
            Encoded(encoded.vectors[a:b], encoded.tokens[a:b], encoded.truncated[a:b])
            for a, b in zip([0, *ends[:-1]], ends, strict=True)
        ]


def _telling(jobs: Sequence[Job[Any]]) -> AfterPart:
    """Between parts: show how far a job that runs alone is, and stop when no job of the batch is wanted."""

    def after_part(done: int, texts: int) -> None:
        if all(job.context.canceled for job in jobs):
            jobs[0].context.check_canceled()
        if len(jobs) == 1 and done < texts:
            jobs[0].context.progress(done / texts, f"{done} of {texts} texts", step=done, steps=texts)

    return after_part


def _embeddings(job: Job[EmbedInput], encoded: Encoded, model: str) -> dict[str, Any]:
    vectors = _normalized(encoded.vectors) if job.input.normalize else encoded.vectors
    tokens = job.context.usage["tokens"] = int(encoded.tokens.sum())
    as_base64 = job.input.encoding == "base64"
    return {
        "embeddings": [_base64(vector) for vector in vectors] if as_base64 else np.ascontiguousarray(vectors),
        "dimensions": vectors.shape[1],
        "tokens": tokens,
        "truncated": np.flatnonzero(encoded.truncated).tolist(),
        "model": model,
    }


def _scores(job: Job[SimilarityInput], encoded: Encoded, model: str) -> dict[str, Any]:
    """By pairs the texts lie a, b, a, b, …; by query it comes first."""
    vectors = _normalized(encoded.vectors)
    by_pairs = job.input.pairs is not None
    left, right = (vectors[0::2], vectors[1::2]) if by_pairs else (vectors[:1], vectors[1:])
    scores = np.clip(np.sum(left * right, axis=1), -1.0, 1.0)
    tokens = job.context.usage["tokens"] = int(encoded.tokens.sum())
    output: dict[str, Any] = {"scores": scores, "tokens": tokens, "model": model}
    if not by_pairs:
        output["ranking"] = np.argsort(-scores, kind="stable").tolist()
    return output


def _compared_texts(value: SimilarityInput) -> list[str]:
    if value.pairs is not None:
        return [text for pair in value.pairs for text in pair]
    return [value.query or "", *(value.candidates or ())]


def _normalized(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32, copy=False)
    return unit


def _base64(vector: Floats) -> str:
    return b64encode(vector.astype("<f4", copy=False).tobytes()).decode("ascii")
