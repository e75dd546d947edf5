"""The handlers with an encoder whose vectors are known."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pytest

from callboard_nlp.engines import Classified, Encoded, Pooling
from callboard_nlp.engines.interface import AfterPart
from callboard_nlp.handlers.encode import EncodeHandlers
from callboard_shared.errors import FinalError
from callboard_shared.jobs.nlp import (
    ClassifyInput,
    ClassifyOutput,
    EmbedInput,
    EmbedOutput,
    SimilarityInput,
    SimilarityOutput,
)
from callboard_shared.worker import JobCanceled
from callboard_shared.worker.models import OpenModel

VECTORS = {"east": (3.0, 0.0), "north": (0.0, 2.0), "north-east": (1.0, 1.0), "west": (-1.0, 0.0)}


class Compass:
    engine = "compass"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(
        self, texts: Sequence[str], pooling: Sequence[Pooling], after_part: AfterPart | None = None
    ) -> Encoded:
        self.calls.append(list(texts))
        vectors = []
        for i, (text, how) in enumerate(zip(texts, pooling, strict=True), start=1):
            vectors.append(np.array(VECTORS[text], np.float32) * (10 if how == "cls" else 1))
            if after_part is not None:
                after_part(i, len(texts))
        lengths = np.array([len(text) for text in texts])
        return Encoded(np.array(vectors), lengths, lengths > 8)


@dataclass
class FakeContext:
    canceled: bool = False
    usage: dict[str, int] = field(default_factory=dict)
    fractions: list[float] = field(default_factory=list)

    def check_canceled(self) -> None:
        if self.canceled:
            raise JobCanceled("The job was canceled.")

    def progress(self, fraction: float, message: str, *, step: int, steps: int) -> None:
        self.fractions.append(fraction)


@dataclass
class FakeJob:
    input: Any
    context: FakeContext = field(default_factory=FakeContext)


def embed_job(*texts: str, **options: Any) -> FakeJob:
    return FakeJob(EmbedInput(texts=list(texts), **options))


@dataclass
class Opened:
    """The models of a process: one, whatever it is called."""

    engine: Any

    def get(self, jobs: Sequence[Any], name: str, *tasks: Any) -> OpenModel:
        if self.engine is None:
            raise FinalError(f"There is no model {name!r}.", code="unknown-model")
        return OpenModel(name, tasks[0], self.engine)


@pytest.fixture
def compass() -> Compass:
    return Compass()


@pytest.fixture
def handlers(compass: Compass) -> EncodeHandlers:
    return EncodeHandlers(Opened(compass))  # type: ignore[arg-type]


def run(handle: Any, *jobs: FakeJob) -> list[Any]:
    """The outputs as clients see them: after JSON."""
    return [orjson.loads(orjson.dumps(output, option=orjson.OPT_SERIALIZE_NUMPY)) for output in handle(jobs)]


def test_the_texts_of_all_jobs_run_in_one_pass_and_come_back_to_their_own(
    handlers: EncodeHandlers, compass: Compass
) -> None:
    jobs = [embed_job("east"), embed_job("north", "west"), embed_job("north-east", normalize=False)]
    first, second, third = run(handlers.embed, *jobs)
    assert compass.calls == [["east", "north", "west", "north-east"]]
    assert first["embeddings"] == [[1, 0]]
    assert second["embeddings"] == [[0, 1], [-1, 0]]
    assert third["embeddings"] == [[1, 1]]
    assert third["truncated"] == [0] and second["truncated"] == []
    assert second["tokens"] == 9 == jobs[1].context.usage["tokens"]
    for output in (first, second, third):
        assert EmbedOutput.model_validate(output).dimensions == 2


def test_jobs_of_one_batch_may_pool_differently(handlers: EncodeHandlers) -> None:
    outputs = run(
        handlers.embed, embed_job("east", normalize=False), embed_job("east", normalize=False, pooling="cls")
    )
    assert [output["embeddings"] for output in outputs] == [[[3, 0]], [[30, 0]]]


def test_base64_is_little_endian_float32(handlers: EncodeHandlers) -> None:
    (output,) = run(handlers.embed, embed_job("north-east", "west", encoding="base64", normalize=False))
    read = [np.frombuffer(base64.b64decode(text), "<f4").tolist() for text in output["embeddings"]]
    assert read == [[1, 1], [-1, 0]]
    EmbedOutput.model_validate(output)


def test_pairs_and_queries_share_a_pass(handlers: EncodeHandlers, compass: Compass) -> None:
    pairs = FakeJob(SimilarityInput(pairs=[("east", "west"), ("east", "north-east")]))
    query = FakeJob(SimilarityInput(query="north", candidates=["west", "north", "north-east"]))
    first, second = run(handlers.similarity, pairs, query)
    assert len(compass.calls) == 1
    assert first["scores"] == pytest.approx([-1, 0.5**0.5]) and "ranking" not in first
    assert second["scores"] == pytest.approx([0, 1, 0.5**0.5]) and second["ranking"] == [1, 2, 0]
    for output in (first, second):
        assert all(-1 <= score <= 1 for score in SimilarityOutput.model_validate(output).scores)


def test_equal_scores_keep_the_order_of_the_candidates(handlers: EncodeHandlers) -> None:
    (output,) = run(
        handlers.similarity, FakeJob(SimilarityInput(query="north", candidates=["east", "west", "east"]))
    )
    assert output["ranking"] == [0, 1, 2]


def test_a_job_alone_tells_its_progress_and_stops_when_canceled(handlers: EncodeHandlers) -> None:
    job = embed_job("east", "north", "west")
    run(handlers.embed, job)
    assert job.context.fractions == pytest.approx([1 / 3, 2 / 3])
    with pytest.raises(JobCanceled):
        handlers.embed([FakeJob(job.input, FakeContext(canceled=True))])  # type: ignore[list-item]


def test_a_canceled_job_does_not_stop_the_others(handlers: EncodeHandlers) -> None:
    canceled = FakeJob(EmbedInput(texts=["west"]), FakeContext(canceled=True))
    _, kept = run(handlers.embed, canceled, embed_job("east"))
    assert kept["embeddings"] == [[1, 0]]


def test_a_model_that_is_gone_fails_the_jobs_that_name_it() -> None:
    with pytest.raises(FinalError, match="all-MiniLM-L6-v2"):
        EncodeHandlers(Opened(None)).embed([embed_job("east")])  # type: ignore[arg-type, list-item]


class Moods:
    engine, labels = "moods", ["bad", "good"]

    def classify(self, texts: Sequence[str], after_part: AfterPart | None = None) -> Classified:
        lengths = np.array([len(text) for text in texts])
        good = np.array([0.75 if "good" in text else 0.25 for text in texts], np.float32)
        return Classified(np.stack([1 - good, good], axis=1), lengths, lengths > 8)


def test_texts_of_all_jobs_are_labelled_together_and_come_back_to_their_own() -> None:
    handlers = EncodeHandlers(Opened(Moods()))  # type: ignore[arg-type]
    jobs = [
        FakeJob(ClassifyInput(texts=["good day"])),
        FakeJob(ClassifyInput(texts=["rain", "a good long day"])),
    ]
    first, second = run(handlers.classify, *jobs)
    assert first["results"] == [{"label": "good", "score": 0.75, "scores": {"bad": 0.25, "good": 0.75}}]
    assert [one["label"] for one in second["results"]] == ["bad", "good"]
    assert second["truncated"] == [1] and first["tokens"] == 8
    for output in (first, second):
        assert ClassifyOutput.model_validate(output).model == "sentiment"


class Words:
    """Word vectors that know three words."""

    def text_vectors(self, texts: Sequence[str]) -> tuple[Any, int, list[str]]:
        if any("quokka" in text for text in texts):
            raise FinalError("The model knows no word of it.", code="unknown-word")
        known = {"east": (1, 0), "north": (0, 1)}
        rows = [np.mean([known[word] for word in text.split() if word in known], axis=0) for text in texts]
        return (
            np.array(rows, np.float32),
            len(texts),
            sorted({w for t in texts for w in t.split() if w not in known}),
        )


def test_texts_are_compared_by_word_vectors_and_a_text_of_unknown_words_fails_its_own_job() -> None:
    @dataclass
    class OfWords(Opened):
        def get(self, jobs: Sequence[Any], name: str, *tasks: Any) -> OpenModel:
            return OpenModel("mine@1", "word2vec", Words())

    handlers = EncodeHandlers(OfWords(None))  # type: ignore[arg-type]
    jobs = [
        FakeJob(SimilarityInput(query="east", candidates=["north", "east zebra"], model="mine")),
        FakeJob(SimilarityInput(pairs=[("east", "quokka")], model="mine")),
    ]
    first, second = handlers.similarity(jobs)  # type: ignore[arg-type]
    assert isinstance(first, dict) and isinstance(second, FinalError)
    assert first["scores"].tolist() == pytest.approx([0, 1]) and first["ranking"] == [1, 0]
    assert first["unknown_words"] == ["zebra"] and first["model"] == "mine@1"
