"""Handlers of nlp.word2vec.*: what the job's owner is told, and what is published."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from callboard_nlp.engines.word2vec.vectors import open_word_vectors
from callboard_nlp.handlers.word2vec import Word2VecHandlers, compare
from callboard_shared.jobs.nlp import (
    SimilarityInput,
    Word2VecQueryInput,
    Word2VecQueryOutput,
    Word2VecTrainInput,
    Word2VecTrainOutput,
)
from callboard_shared.models.trained import Part, TrainedModel
from callboard_shared.worker.job import OpenedFile
from callboard_shared.worker.models import OpenModel
from callboard_shared.worker.workshop import Workshop

TEXTS = ["the king rules the land", "the queen rules the land", "a farmer works the land"] * 40


@dataclass
class FakeContext:
    usage: dict[str, int] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)
    logs: list[tuple[str, str]] = field(default_factory=list)
    file: bytes = b""

    def check_canceled(self) -> None:
        pass

    def progress(self, fraction: float, message: str, **numbers: Any) -> None:
        self.told.append({"fraction": fraction, "message": message, **numbers})

    def log(self, level: str, message: str) -> None:
        self.logs.append((level, message))

    def open_file(self, given: Any) -> OpenedFile:
        return OpenedFile("corpus.txt", io.BytesIO(self.file))


@dataclass
class FakeJob:
    input: Any
    context: FakeContext = field(default_factory=FakeContext)
    id: str = "job_1"
    owner: str = "key_1"


@dataclass
class Published:
    """A model store that keeps the last model in a folder."""

    folder: Path
    given: dict[str, Any] = field(default_factory=dict)

    def publish(self, made: Path, **given: Any) -> TrainedModel:
        self.given = given
        for path in filter(Path.is_file, made.iterdir()):
            (self.folder / path.name).write_bytes(path.read_bytes())
        parts = (Part("vectors.bin", "file_1", 7, "0" * 64),)
        return TrainedModel("key_1", given["name"], "word2vec", "word2vec", "job_1", 0, parts, version=1)

    def get(self, jobs: Any, name: str, task: str) -> OpenModel:
        return OpenModel("mine@1", "word2vec", open_word_vectors(self.folder))


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return Published(tmp_path)


@pytest.fixture
def handlers(published: Published) -> Word2VecHandlers:
    workshop = Workshop(lambda: published, 2, published.folder / "scratch")  # type: ignore[arg-type, return-value]
    return Word2VecHandlers(published, workshop)  # type: ignore[arg-type]


def train(
    handlers: Word2VecHandlers, context: FakeContext | None = None, **value: Any
) -> tuple[Any, FakeContext]:
    given = Word2VecTrainInput.model_validate({"vector_size": 16, "min_count": 1, "epochs": 3, **value})
    job = FakeJob(given, context or FakeContext())
    output = handlers.train(job)  # type: ignore[arg-type]
    return Word2VecTrainOutput.model_validate(output), job.context


def test_each_epoch_is_told_by_number_and_loss(handlers: Word2VecHandlers) -> None:
    output, context = train(handlers, texts=TEXTS)
    epochs = [one for one in context.told if "loss" in one]
    assert [(one["step"], one["steps"]) for one in epochs] == [(1, 3), (2, 3), (3, 3)]
    assert [one["loss"] for one in epochs] == [epoch.loss for epoch in output.history]
    assert epochs[1]["message"] == f"epoch 2 of 3, loss {epochs[1]['loss']:.4g}"
    assert [one["fraction"] for one in epochs] == pytest.approx([1 / 3, 2 / 3, 1])
    assert context.usage == {"tokens": output.tokens} == {"tokens": 600}


def test_an_epoch_without_a_word_is_told_as_such(handlers: Word2VecHandlers, published: Published) -> None:
    output, context = train(handlers, texts=TEXTS, sample=1e-14)
    assert output.loss is None and [epoch.loss for epoch in output.history] == [None] * 3
    assert context.told[-1]["message"] == "epoch 3 of 3: no word to train on"
    assert "loss" not in published.given["metrics"]


def test_the_published_model_says_how_it_was_made(handlers: Word2VecHandlers, published: Published) -> None:
    output, _ = train(handlers, texts=TEXTS, seed=5, name="mine", window=2)
    assert published.given["metrics"] == {"loss": output.loss, "vocabulary_size": 8, "tokens": 600}
    details = published.given["details"]
    assert details["tokenizer"] == "words" and details["seed"] == 5 and details["window"] == 2
    assert details["sentences"] == 120 and details["left_out"] == 0
    json.dumps(details)


def test_words_that_find_no_room_are_a_warning_and_in_the_output(
    handlers: Word2VecHandlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callboard_nlp.engines.word2vec.training._MODEL_BYTES", 3000)
    output, context = train(handlers, texts=TEXTS)
    assert output.vocabulary_size + output.left_out == 8 and output.left_out > 0
    assert [level for level, _ in context.logs] == ["warning"]


def test_a_model_of_token_lists_answers_by_their_spelling(
    handlers: Word2VecHandlers, published: Published
) -> None:
    train(handlers, sentences=[["New York", "is", "BIG"], ["Seoul", "is", "OLD"]] * 30)
    asked = FakeJob(Word2VecQueryInput(model="mine", vectors=["New York", "BIG"]))
    output = handlers.query(asked)  # type: ignore[arg-type]
    assert set(Word2VecQueryOutput.model_validate(output).vectors or {}) == {"New York", "BIG"}
    job = FakeJob(SimilarityInput(pairs=[("Seoul is BIG", "Seoul is OLD!")], model="mine"))
    compared = compare(job, published.get([], "", "").engine, "mine@1")  # type: ignore[arg-type]
    assert compared["unknown_words"] == [] and compared["tokens"] == 6


def test_no_scratch_is_left_behind_not_even_by_an_attempt_that_was_killed(
    handlers: Word2VecHandlers, published: Published
) -> None:
    killed = published.folder / "scratch" / "job_1-abc"
    killed.mkdir(parents=True)
    (killed / "vectors.bin").write_bytes(b"half")
    running, forgotten = (published.folder / "scratch" / name for name in ("job_2-abc", "job_3-abc"))
    running.mkdir()
    forgotten.mkdir()
    os.utime(forgotten, (0, 0))
    train(handlers, texts=TEXTS)
    assert list((published.folder / "scratch").iterdir()) == [running]


def test_a_file_is_trained_on_as_it_is_read(handlers: Word2VecHandlers) -> None:
    context = FakeContext(file="\n".join(TEXTS).encode())
    output, _ = train(handlers, context, file={"file_id": "file_1"}, tokenizer="whitespace")
    assert output.sentences == 120 and output.vocabulary_size == 8
