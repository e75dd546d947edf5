"""Handlers of nlp.embed, nlp.similarity and nlp.classify: one pass for the texts of all jobs of a batch."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from callboard_nlp.engines.interface import (
    AfterPart,
    Classified,
    Classifier,
    Encoded,
    Encoder,
    Floats,
    Pooling,
)
from callboard_nlp.handlers import word2vec
from callboard_shared.errors import JobError
from callboard_shared.jobs.nlp import ClassifyInput, EmbedInput, SimilarityInput
from callboard_shared.worker import Job
from callboard_shared.worker.models import Models, OpenModel

Outputs = Sequence[dict[str, Any] | JobError]
Compare = Callable[[Job[SimilarityInput], Any, str], dict[str, Any]]


class EncodeHandlers:
    """Jobs of one call name the same model, and one of their owner's only with that owner's others: their types'
    ``batch.by`` and the gateway see to it."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def embed(self, jobs: Sequence[Job[EmbedInput]]) -> Outputs:
        model = self._models.get(jobs, jobs[0].input.model, "embed")
        texts = [job.input.texts for job in jobs]
        pooling: list[Pooling] = [job.input.pooling for job in jobs for _ in job.input.texts]
        parts = _encode(model.engine, jobs, texts, pooling)
        return [_embeddings(job, part, model.name) for job, part in zip(jobs, parts, strict=True)]

    def similarity(self, jobs: Sequence[Job[SimilarityInput]]) -> Outputs:
        model = self._models.get(jobs, jobs[0].input.model, "embed", "word2vec")
        if model.task == "word2vec":
            return [_alone(word2vec.compare, job, model) for job in jobs]
        texts = [_compared_texts(job.input) for job in jobs]
        pooling: list[Pooling] = ["mean"] * sum(map(len, texts))
        parts = _encode(model.engine, jobs, texts, pooling)
        return [_scores(job, part, model.name) for job, part in zip(jobs, parts, strict=True)]

    def classify(self, jobs: Sequence[Job[ClassifyInput]]) -> Outputs:
        model = self._models.get(jobs, jobs[0].input.model, "classify")
        classifier: Classifier = model.engine
        found = classifier.classify([text for job in jobs for text in job.input.texts], _telling(jobs))
        return [
            _labels(job, Classified(found.probabilities[a:b], found.tokens[a:b], found.truncated[a:b]),
                    classifier.labels, model.name)
            for job, (a, b) in zip(jobs, spans([job.input.texts for job in jobs]), strict=True)
        ]  # fmt: skip


def _alone(compare: Compare, job: Job[SimilarityInput], model: OpenModel) -> dict[str, Any] | JobError:
    """A word that one job's texts lack is not the others' fault."""
    try:
        return compare(job, model.engine, model.name)
    except JobError as error:
        return error


def _encode(
    encoder: Encoder, jobs: Sequence[Job[Any]], texts: Sequence[Sequence[str]], pooling: Sequence[Pooling]
) -> list[Encoded]:
    """Each job's part of one encoding."""
    encoded = encoder.encode([text for part in texts for text in part], pooling, _telling(jobs))
    return [
        Encoded(encoded.vectors[a:b], encoded.tokens[a:b], encoded.truncated[a:b]) for a, b in spans(texts)
    ]


def spans(parts: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Where each part begins and ends when they are laid end to end."""
    ends = np.cumsum([len(part) for part in parts]).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


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


def _labels(job: Job[ClassifyInput], found: Classified, labels: list[str], model: str) -> dict[str, Any]:
    tokens = job.context.usage["tokens"] = int(found.tokens.sum())
    results = []
    for row in found.probabilities.tolist():
        best = max(range(len(labels)), key=row.__getitem__)
        results.append(
            {"label": labels[best], "score": row[best], "scores": dict(zip(labels, row, strict=True))}
        )
    truncated = np.flatnonzero(found.truncated).tolist()
    return {"results": results, "tokens": tokens, "truncated": truncated, "model": model}


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
