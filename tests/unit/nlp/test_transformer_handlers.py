"""The handlers with a store and a context that keep what they are told."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from callboard_nlp.engines.interface import AfterPart, Written
from callboard_nlp.engines.transformer import training
from callboard_nlp.engines.transformer.generation import open_writer
from callboard_nlp.handlers.transformer import TransformerHandlers
from callboard_shared.errors import FinalError, LedgerUnavailable, RetryableError
from callboard_shared.jobs.nlp import (
    TransformerGenerateInput,
    TransformerGenerateOutput,
    TransformerTrainInput,
    TransformerTrainOutput,
)
from callboard_shared.models import Part, TrainedModel
from callboard_shared.worker import JobCanceled
from callboard_shared.worker.job import OpenedFile
from callboard_shared.worker.models import OpenModel
from callboard_shared.worker.workshop import Workshop

PAIRS = [(f"{a} {b}", f"{b} {a}") for a in range(5) for b in range(5)]
TINY: dict[str, Any] = {
    "d_model": 16, "nhead": 2, "num_encoder_layers": 1, "num_decoder_layers": 1, "dim_feedforward": 16,
    "learning_rate": 1e-2, "vocabulary_size": 270, "epochs": 2, "batch_size": 8, "max_length": 16,
}  # fmt: skip


@dataclass
class FakeContext:
    canceled: bool = False
    file: bytes = b""
    usage: dict[str, int] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    cancel_at_step: int | None = None

    def check_canceled(self) -> None:
        if self.canceled:
            raise JobCanceled("The job was canceled.")

    def progress(self, fraction: float, message: str, **figures: Any) -> None:
        self.told.append({"fraction": fraction, "message": message, **figures})
        self.canceled = self.canceled or (
            self.cancel_at_step is not None and figures.get("step") == self.cancel_at_step
        )

    def log(self, level: str, message: str) -> None:
        self.logs.append(message)

    def open_file(self, given: Any) -> OpenedFile:
        return OpenedFile("pairs.csv", io.BytesIO(self.file))


@dataclass
class FakeJob:
    input: Any
    context: FakeContext = field(default_factory=FakeContext)
    id: str = "job_1"
    owner: str = "key_1"
    attempt: int = 1


@dataclass
class FakeStore:
    """Keeps checkpoints and models as folders."""

    root: Path
    saved: list[int] = field(default_factory=list)
    forgotten: int = 0
    published: list[TrainedModel] = field(default_factory=list)

    def save_checkpoint(self, folder: Path, *, step: int, **_: Any) -> bool:
        shutil.copytree(folder, self.root / f"{step:06}")
        self.saved.append(step)
        return True

    def restore_checkpoint(self, job_id: str, folder: Path) -> int | None:
        if not self.saved:
            return None
        shutil.copytree(self.root / f"{self.saved[-1]:06}", folder)
        return self.saved[-1]

    def forget_checkpoints(self, job_id: str) -> None:
        self.forgotten += 1
        self.saved.clear()

    def publish(
        self, folder: Path, *, owner: str, job_id: str, name: str, kind: str, task: Any, **about: Any
    ) -> TrainedModel:
        shutil.copytree(folder, self.root / "model")
        parts = tuple(Part(path.name, f"file_{path.name}", 1, "0") for path in folder.iterdir())
        model = TrainedModel(owner, name, kind, task, job_id, 0, parts, **about, version=3)
        self.published.append(model)
        return model


@pytest.fixture
def store(tmp_path: Path) -> FakeStore:
    return FakeStore(tmp_path)


@pytest.fixture
def handlers(store: FakeStore) -> TransformerHandlers:
    return made_with(store)


def made_with(store: FakeStore) -> TransformerHandlers:
    workshop = Workshop(lambda: store, 1, store.root / "scratch")  # type: ignore[arg-type, return-value]
    return TransformerHandlers(None, workshop)  # type: ignore[arg-type]


def a_job(context: FakeContext | None = None, **changes: Any) -> Any:
    value = TransformerTrainInput(**{"pairs": PAIRS, **TINY, **changes})
    return FakeJob(value, context or FakeContext())


def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every step."""

    class Eager:
        def due(self, *, after_epoch: bool = False) -> bool:
            return True

        def saving(self) -> None: ...
        def saved(self) -> None: ...

    monkeypatch.setattr(training, "Rhythm", Eager)


def test_a_training_publishes_a_model_that_writes_and_says_what_it_did(
    handlers: TransformerHandlers, store: FakeStore
) -> None:
    job = a_job(name="swap")
    output = TransformerTrainOutput.model_validate(handlers.train(job))
    assert output.model == "swap@3" and output.resumed_from_step is None
    assert (output.train_pairs, output.eval_pairs, output.skipped_pairs, output.steps) == (23, 2, 0, 6)
    assert [one.epoch for one in output.history] == [1, 2]
    assert output.files.training_plot.file_id == "file_training.png"
    (model,) = store.published
    assert (model.kind, model.task, model.owner, model.job_id) == ("transformer", "seq2seq", "key_1", "job_1")
    assert set(model.metrics) == {"loss", "eval_loss", "accuracy"}
    assert model.details["parameters"] == output.parameters and model.details["max_length"] == 16
    assert open_writer(store.root / "model").write(["1 2"], 4, 1).tokens[0] <= 4
    assert job.context.usage["tokens"] > 2 * 23 * 3
    assert store.forgotten == 1


def test_progress_tells_every_step_with_loss_and_learning_rate_and_never_falls(
    handlers: TransformerHandlers,
) -> None:
    job = a_job()
    handlers.train(job)
    told = job.context.told
    fractions = [one["fraction"] for one in told]
    assert fractions == sorted(fractions) and fractions[-1] == 0.98
    steps = [one for one in told if "learning_rate" in one]
    assert [one["step"] for one in steps] == [1, 2, 3, 4, 5, 6] and all(one["loss"] > 0 for one in steps)
    epochs = [one for one in told if "eval_loss" in one]
    assert [one["message"].split(":")[0] for one in epochs] == ["epoch 1 of 2", "epoch 2 of 2"]


def test_a_file_is_trained_on_as_an_inline_list_is(handlers: TransformerHandlers, tmp_path: Path) -> None:
    content = "source,target\n" + "".join(f"{a},{b}\n" for a, b in PAIRS)
    inline = handlers.train(a_job())
    other = made_with(FakeStore(tmp_path / "other"))
    filed = other.train(a_job(FakeContext(file=content.encode()), pairs=None, file={"file_id": "file_x"}))
    assert filed["history"] == inline["history"]


def test_an_attempt_that_is_lost_leaves_its_checkpoint_to_the_next_which_goes_on_from_it(
    handlers: TransformerHandlers, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(monkeypatch)

    class Lost(FakeContext):
        def progress(self, fraction: float, message: str, **figures: Any) -> None:
            if figures.get("step") == 4:
                raise LedgerUnavailable("It is away.")

    with pytest.raises(LedgerUnavailable):
        handlers.train(a_job(Lost()))
    assert store.saved and store.forgotten == 0
    saved = store.saved[-1]
    job = a_job()
    output = handlers.train(job)
    assert output["resumed_from_step"] == saved and job.context.logs == [f"resumed from step {saved}"]
    first = next(one["step"] for one in job.context.told if "learning_rate" in one)
    assert first == saved + 1 and output["steps"] == 6
    assert store.forgotten == 1 and not store.saved


def test_a_canceled_training_keeps_no_checkpoint_and_publishes_nothing(
    handlers: TransformerHandlers, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(monkeypatch)
    job = a_job(FakeContext(cancel_at_step=2))
    with pytest.raises(JobCanceled):
        handlers.train(job)
    assert store.forgotten == 1 and not store.saved and not store.published
    assert max(one.get("step", 0) for one in job.context.told) == 2


def test_a_bug_or_a_final_error_keeps_no_checkpoint_and_a_retryable_one_does(
    handlers: TransformerHandlers, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, forgotten in ((ValueError("bug"), 1), (FinalError("no"), 2), (RetryableError("later"), 2)):

        def fail(*_: Any, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(training, "train", fail)
        with pytest.raises(type(error)):
            handlers.train(a_job())
        assert store.forgotten == forgotten


def test_bad_pairs_fail_before_anything_is_trained(handlers: TransformerHandlers) -> None:
    with pytest.raises(FinalError) as error:
        handlers.train(a_job(pairs=PAIRS[:3]))
    assert error.value.problem_code == "too-few-pairs"
    with pytest.raises(FinalError, match="row 2") as error:
        handlers.train(a_job(pairs=[*PAIRS[:1], ("a", "  "), *PAIRS]))
    assert error.value.problem_code == "empty-rows"
    with pytest.raises(FinalError) as error:
        handlers.train(a_job(pairs=[("a " * 50, "b")] * 5))
    assert error.value.problem_code == "pairs-too-long"


# --- generation ---


class Echo:
    """Writes a text back, cut at the most tokens: its letters."""

    engine = "echo"

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], int, int]] = []

    def check(self, texts: Sequence[str]) -> None:
        if any(len(text) > 9 for text in texts):
            raise FinalError("A text is too long.", code="text-too-long")

    def write(
        self, texts: Sequence[str], max_length: int, beams: int, after_token: AfterPart | None = None
    ) -> Written:
        self.calls.append((list(texts), max_length, beams))
        for done in range(len(texts) + 1):
            for _ in range(3):
                if after_token is not None:
                    after_token(done, len(texts))
        cut = [len(text) > max_length for text in texts]
        answers = [text[:max_length] for text in texts]
        return Written(answers, [len(answer) for answer in answers], cut, [-0.5] * len(texts))


@dataclass
class Opened:
    engine: Any

    def get(self, jobs: Sequence[Any], name: str, *tasks: Any) -> OpenModel:
        assert tasks == ("seq2seq",)
        return OpenModel("echo@1", "seq2seq", self.engine)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def writing(echo: Echo) -> TransformerHandlers:
    return TransformerHandlers(Opened(echo), None)  # type: ignore[arg-type]


def asked(*texts: str, **options: Any) -> Any:
    return FakeJob(TransformerGenerateInput(texts=list(texts), **options))


def test_the_texts_of_all_jobs_are_written_together_and_come_back_to_their_own(
    writing: TransformerHandlers, echo: Echo
) -> None:
    jobs = [asked("a", "bc", beams=3, max_length=4), asked("long one", "d", beams=3, max_length=4)]
    first, second = [TransformerGenerateOutput.model_validate(one) for one in writing.generate(jobs)]
    assert echo.calls == [(["a", "bc", "long one", "d"], 4, 3)]
    assert (first.texts, first.tokens, first.truncated) == (["a", "bc"], 3, [])
    assert (second.texts, second.tokens, second.truncated) == (["long", "d"], 5, [0])
    assert second.scores == [-0.5, -0.5] and first.model == "echo@1"
    assert [job.context.usage["tokens"] for job in jobs] == [3, 5]


def test_a_text_that_is_too_long_fails_its_own_job_alone(writing: TransformerHandlers, echo: Echo) -> None:
    first, second, third = writing.generate([asked("a"), asked("b", "far too long"), asked("c")])
    assert isinstance(second, FinalError) and second.problem_code == "text-too-long"
    assert isinstance(first, dict) and isinstance(third, dict)
    assert (first["texts"], third["texts"]) == (["a"], ["c"])
    (alone,) = writing.generate([asked("far too long")])
    assert isinstance(alone, FinalError) and len(echo.calls) == 1


def test_it_stops_between_tokens_when_no_job_of_the_batch_is_wanted(writing: TransformerHandlers) -> None:
    canceled, wanted = asked("a"), asked("b")
    canceled.context.canceled = True
    assert isinstance(writing.generate([canceled, wanted])[1], dict)
    with pytest.raises(JobCanceled):
        writing.generate([canceled])


def test_a_job_alone_tells_each_text_once(writing: TransformerHandlers) -> None:
    job = asked("a", "b", "c")
    writing.generate([job])
    assert [one["step"] for one in job.context.told] == [1, 2]
    together = [asked("a"), asked("b")]
    writing.generate(together)
    assert together[0].context.told == []
