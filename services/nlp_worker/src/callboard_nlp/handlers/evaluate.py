"""The handler of nlp.evaluate."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any, BinaryIO

import numpy as np

from callboard_nlp.data import labelled, splits
from callboard_nlp.data.given import sources
from callboard_nlp.data.rows import Source
from callboard_nlp.engines.interface import Classified, Classifier
from callboard_shared.jobs.nlp import EvaluateInput
from callboard_shared.worker import Context, Job
from callboard_shared.worker.models import Models

_SEED = 42
_BATCHES_SORTED = 32
"""Batches whose texts are sorted by length together: texts of like length need little padding."""
_PIECE = 1024 * 1024

Pairs = Iterator[tuple[str, str]]


class EvaluateHandlers:
    def __init__(self, models: Models) -> None:
        self._models = models

    def evaluate(self, job: Job[EvaluateInput]) -> dict[str, Any]:
        """Rows, predictions and truths go by in pieces: of a large file only its labels' numbers are kept."""
        value, context = job.input, job.context
        model = self._models.get([job], value.model, "classify")
        classifier: Classifier = model.engine
        context.progress(0.0, "reading the data")
        with ExitStack() as stack:
            given, test = sources(value.dataset, "dataset", context, stack)
            source = test or given
            found = labelled.survey(source, context.check_canceled)
            numbers = _numbers(source, found.labels, classifier.labels)
            samples = min(found.rows, value.max_samples or found.rows)
            rows = labelled.rows_of(source)
            if samples < found.rows:
                some = splits.sample(source, found, samples, _SEED)
                rows = zip(some.texts, some.labels, strict=True)
            file = stack.enter_context(tempfile.TemporaryFile())
            truth, predicted = _predict(context, classifier, rows, numbers, value.batch_size, samples, file)
            context.check_canceled()
            file.seek(0)
            pieces = iter(lambda: file.read(_PIECE), b"")
            record = context.put_file("predictions.jsonl", pieces, "application/x-ndjson")
        return _output(model.name, classifier.labels, truth, predicted, record.reference())


def _numbers(source: Source, labels: Iterable[str], known: list[str]) -> dict[str, int]:
    """The model's number of each label of the data. A model whose labels have no names of their own goes by number:
    ``1`` is its LABEL_1. Raises FinalError ``unknown-labels``."""
    numbers = {label: number for number, label in enumerate(known)}
    if all(label == f"LABEL_{number}" for number, label in enumerate(known)):
        numbers |= {str(number): number for number in range(len(known))}
    labelled.check_known(source, labels, list(numbers), "trained into the model")
    return numbers


def _predict(
    context: Context,
    classifier: Classifier,
    rows: Pairs,
    numbers: dict[str, int],
    batch_size: int,
    samples: int,
    file: BinaryIO,
) -> tuple[list[int], list[int]]:
    """(true, predicted) numbers of the labels, in order; what was predicted is written into ``file``."""
    truth: list[int] = []
    predicted: list[int] = []
    tokens = 0
    while some := list(islice(rows, batch_size * _BATCHES_SORTED)):
        by_length = sorted(range(len(some)), key=lambda place: len(some[place][0]))
        probabilities = np.empty((len(some), len(classifier.labels)), np.float32)
        for start in range(0, len(some), batch_size):
            context.check_canceled()
            places = by_length[start : start + batch_size]
            found: Classified = classifier.classify([some[place][0] for place in places])
            probabilities[places] = found.probabilities
            tokens += int(found.tokens.sum())
            done = len(truth) + start + len(places)
            context.progress(done / samples, f"{done} of {samples} rows", step=done, steps=samples)
        truth += [numbers[label] for _, label in some]
        predicted += probabilities.argmax(axis=1).tolist()
        for (text, label), row in zip(some, probabilities.tolist(), strict=True):
            file.write(_line(text, classifier.labels[numbers[label]], classifier.labels, row))
    context.usage["tokens"] = tokens
    return truth, predicted


def _line(text: str, label: str, labels: list[str], probabilities: list[float]) -> bytes:
    best = max(range(len(labels)), key=probabilities.__getitem__)
    entry = {
        "text": text, "label": label, "predicted": labels[best], "score": probabilities[best],
        "scores": dict(zip(labels, probabilities, strict=True)),
    }  # fmt: skip
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"


def _output(
    model: str, labels: list[str], truth: list[int], predicted: list[int], predictions: dict[str, Any]
) -> dict[str, Any]:
    from callboard_nlp.engines.metrics import measured

    found = measured(np.array(truth), np.array(predicted), labels)
    return {
        "accuracy": found.accuracy,
        "precision": found.precision,
        "recall": found.recall,
        "f1": found.f1,
        "labels": [
            {"label": one.label, "precision": one.precision, "recall": one.recall, "f1": one.f1, "samples": one.samples}
            for one in found.by_label
        ],
        "confusion": {"labels": labels, "matrix": found.matrix},
        "predictions": predictions,
        "samples": len(truth),
        "model": model,
    }  # fmt: skip
