"""nlp.evaluate with a classifier whose opinions are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from callboard_nlp.engines import Classified
from callboard_nlp.engines.interface import AfterPart
from callboard_nlp.handlers.evaluate import EvaluateHandlers
from callboard_shared.errors import FinalError
from callboard_shared.files import FileRecord
from callboard_shared.jobs.nlp import EvaluateInput, EvaluateOutput
from callboard_shared.worker import JobCanceled
from callboard_shared.worker.models import OpenModel


class Reader:
    """Believes what a text says: "good", "bad" or "so-so" by its first word."""

    engine = "reader"

    def __init__(self, labels: list[str]) -> None:
        self.labels = labels
        self.batches: list[int] = []

    def classify(self, texts: Sequence[str], after_part: AfterPart | None = None) -> Classified:
        self.batches.append(len(texts))
        order = {"bad": 0, "good": 1, "so-so": 2}
        chosen = [order[text.split()[0]] for text in texts]
        probabilities = np.full((len(texts), len(self.labels)), 0.1, np.float32)
        probabilities[range(len(texts)), chosen] = 0.8
        return Classified(
            probabilities, np.array([len(text) for text in texts]), np.zeros(len(texts), np.bool_)
        )


@dataclass
class Stored:
    context: Context

    def reference(self) -> dict[str, Any]:
        size = len(self.context.written)
        return {
            "file_id": "file_1",
            "media_type": "application/x-ndjson",
            "bytes": size,
            "sha256": "",
            "url": "",
        }


@dataclass
class Context:
    cancel_after: int = 10_000
    usage: dict[str, int] = field(default_factory=dict)
    fractions: list[float] = field(default_factory=list)
    written: bytes = b""

    def check_canceled(self) -> None:
        self.cancel_after -= 1
        if self.cancel_after < 0:
            raise JobCanceled("The job was canceled.")

    def progress(self, fraction: float, message: str, **_: Any) -> None:
        self.fractions.append(fraction)

    def put_file(self, name: str, pieces: Iterable[bytes], media_type: str) -> FileRecord:
        self.written = b"".join(pieces)
        return Stored(self)  # type: ignore[return-value]


@dataclass
class Opened:
    engine: Any

    def get(self, jobs: Sequence[Any], name: str, *tasks: Any) -> OpenModel:
        return OpenModel(name, "classify", self.engine)


@dataclass
class FakeJob:
    input: EvaluateInput
    context: Context = field(default_factory=Context)


Evaluate = Callable[..., tuple[dict[str, Any], Context, Reader]]


@pytest.fixture
def evaluate() -> Evaluate:
    def run(
        rows: list[tuple[str, Any]], labels: list[str], **options: Any
    ) -> tuple[dict[str, Any], Context, Reader]:
        dataset = [{"text": text, "label": label} for text, label in rows]
        job, reader = FakeJob(EvaluateInput.model_validate({"dataset": dataset, **options})), Reader(labels)
        output = EvaluateHandlers(Opened(reader)).evaluate(job)  # type: ignore[arg-type]
        EvaluateOutput.model_validate(output)
        return output, job.context, reader

    return run


def test_what_is_measured_is_counted_by_hand(evaluate: Evaluate) -> None:
    rows = [("good film", "good"), ("bad film", "bad"), ("good", "bad"), ("bad and long indeed", "bad")]
    output, context, _ = evaluate(rows, ["bad", "good"])
    assert output["accuracy"] == 0.75 and output["samples"] == 4
    assert output["confusion"] == {"labels": ["bad", "good"], "matrix": [[2, 1], [0, 1]]}
    bad, good = output["labels"]
    assert (bad["precision"], bad["recall"], bad["samples"]) == (1.0, pytest.approx(2 / 3), 3)
    assert (good["precision"], good["recall"], good["f1"]) == (0.5, 1.0, pytest.approx(2 / 3))
    assert output["f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert context.usage["tokens"] == sum(len(text) for text, _ in rows)
    assert context.fractions[-1] == 1.0


def test_texts_are_sorted_by_length_for_the_model_and_reported_in_the_order_of_the_data(
    evaluate: Evaluate,
) -> None:
    rows = [(f"good {'x' * (n * 37 % 50)}", "good") for n in range(50)]
    _, context, reader = evaluate(rows, ["bad", "good"])
    lines = [json.loads(line) for line in context.written.splitlines()]
    assert [line["text"] for line in lines] == [text for text, _ in rows]
    assert reader.batches == [8] * 6 + [2]
    assert lines[0] | {"text": ""} == {
        "text": "", "label": "good", "predicted": "good", "score": pytest.approx(0.8),
        "scores": {"bad": pytest.approx(0.1), "good": pytest.approx(0.8)},
    }  # fmt: skip


def test_a_model_without_names_for_its_labels_goes_by_number(evaluate: Evaluate) -> None:
    output, _, _ = evaluate([("good", 1), ("bad", "0"), ("good", "LABEL_0")], ["LABEL_0", "LABEL_1"])
    assert output["confusion"]["matrix"] == [[1, 1], [0, 1]]


def test_a_label_that_the_model_does_not_know_is_named(evaluate: Evaluate) -> None:
    with pytest.raises(FinalError, match="'meh'") as refused:
        evaluate([("good", "good"), ("bad", "meh")], ["bad", "good"])
    assert refused.value.problem_code == "unknown-labels"


def test_a_label_that_does_not_occur_spoils_no_mean(evaluate: Evaluate) -> None:
    output, _, _ = evaluate([("good", "good"), ("bad", "bad")], ["bad", "good", "so-so"])
    assert output["f1"] == 1.0 and output["labels"][2]["samples"] == 0


def test_at_most_max_samples_are_measured_on_always_the_same(evaluate: Evaluate) -> None:
    rows = [(f"good {n}", "good") for n in range(100)]
    first, context, _ = evaluate(rows, ["bad", "good"], max_samples=10)
    _, again, _ = evaluate(rows, ["bad", "good"], max_samples=10)
    assert first["samples"] == 10 and context.written == again.written
    assert [json.loads(line)["text"] for line in context.written.splitlines()] != [
        text for text, _ in rows[:10]
    ]


def test_a_cancel_is_heard_between_batches() -> None:
    dataset = [{"text": f"good {n}", "label": "good"} for n in range(100)]
    reader = Reader(["bad", "good"])
    job = FakeJob(EvaluateInput.model_validate({"dataset": dataset}), Context(cancel_after=3))
    with pytest.raises(JobCanceled):
        EvaluateHandlers(Opened(reader)).evaluate(job)  # type: ignore[arg-type]
    assert len(reader.batches) == 3
