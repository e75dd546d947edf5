"""Training: it learns, tells, stops, fails with the cure, and goes on after a kill as if nothing had been."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from callboard_nlp.engines.telling import Step, Telling
from callboard_nlp.engines.transformer import batches, threads, training
from callboard_nlp.engines.transformer.batches import Pairs
from callboard_nlp.engines.transformer.recipe import Architecture, Recipe, Trained
from callboard_nlp.engines.transformer.tokenizer import BEGIN, END, PAD, PairTokenizer
from callboard_shared.errors import FinalError
from callboard_shared.worker import JobCanceled

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
PAIRS = [(f"{a} {b}", f"{WORDS[a]} {WORDS[b]}") for a in range(10) for b in range(6)]
SMALL = Architecture(16, 2, 1, 1, 32, 0.1)
RECIPE = Recipe(
    SMALL, learning_rate=1e-2, warmup_steps=0, decay="none", label_smoothing=0.0, epochs=3, batch_size=8, max_length=32,
    vocabulary_size=300, eval_share=0.2, seed=3, threads=1,
)  # fmt: skip


class Killed(BaseException):
    """As if the process were gone."""


@dataclass
class Told:
    """``kill_at``: the step after which the process is gone; ``keep``: where checkpoints are copied to."""

    keep: Path | None = None
    kill_at: int | None = None
    check: Callable[[], None] = lambda: None
    steps: list[Step] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    saved: list[int] = field(default_factory=list)

    def telling(self) -> Telling:
        return Telling(self.check, self.on_step, lambda step, entry: self.epochs.append(entry), self.save)

    def on_step(self, step: Step) -> None:
        self.steps.append(step)
        if step.step == self.kill_at:
            raise Killed

    def save(self, folder: Path, step: int) -> None:
        self.saved.append(step)
        if self.keep is not None:
            shutil.rmtree(self.keep, ignore_errors=True)
            shutil.move(folder, self.keep)


class Eager:
    """A rhythm that saves every ``every``th time it is asked."""

    def __init__(self, every: int) -> None:
        self._every, self._asked = every, 0

    def due(self, *, after_epoch: bool = False) -> bool:
        self._asked += 1
        return self._asked % self._every == 0

    def saving(self) -> None: ...
    def saved(self) -> None: ...


def train(
    folder: Path, recipe: Recipe = RECIPE, told: Told | None = None, resume: Path | None = None,
    pairs: list[tuple[str, str]] = PAIRS,
) -> Trained:  # fmt: skip
    made, scratch = folder / "made", folder / "scratch"
    made.mkdir(parents=True)
    scratch.mkdir()
    return training.train(lambda: pairs, recipe, made, scratch, (told or Told()).telling(), resume)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "made" / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_training_tells_every_step_and_epoch_and_gets_better(tmp_path: Path) -> None:
    told = Told()
    trained = train(tmp_path, replace(RECIPE, epochs=6, warmup_steps=5), told)
    assert (trained.train_pairs, trained.eval_pairs, trained.skipped_pairs) == (48, 12, 0)
    assert trained.steps == 36 and [step.step for step in told.steps] == list(range(1, 37))
    assert {step.steps for step in told.steps} == {36} and told.steps[-1].epoch == 6
    rates = [step.learning_rate for step in told.steps]
    assert rates[:6] == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01, 0.01]) and rates[-1] == 0.01
    assert trained.history == told.epochs and [one["epoch"] for one in told.epochs] == [1, 2, 3, 4, 5, 6]
    assert told.epochs[-1]["loss"] < 0.6 * told.epochs[0]["loss"]
    assert told.epochs[-1]["eval_loss"] < 0.8 * told.epochs[0]["eval_loss"]
    assert 0 < told.epochs[-1]["accuracy"] <= 1


def test_the_learning_rate_rises_and_then_stays_or_falls() -> None:
    stays = replace(RECIPE, learning_rate=1.0, warmup_steps=4)
    falls = replace(stays, decay="linear")
    assert [training.learning_rate(stays, step, 8) for step in range(1, 9)] == [
        0.25,
        0.5,
        0.75,
        1,
        1,
        1,
        1,
        1,
    ]
    assert [training.learning_rate(falls, step, 8) for step in range(1, 9)] == [
        0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25
    ]  # fmt: skip
    assert training.learning_rate(replace(falls, warmup_steps=50), 8, 8) == 0.16, "a warm-up longer than all"


def test_the_model_is_safetensors_tokenizer_config_plot_and_report(tmp_path: Path) -> None:
    trained = train(tmp_path)
    made = tmp_path / "made"
    assert {path.name for path in made.iterdir()} == {
        "config.json", "model.safetensors", "report.json", "tokenizer.json", "training.png"
    }  # fmt: skip
    config = json.loads((made / "config.json").read_text())
    assert config["kind"] == "transformer" and config["d_model"] == 16 and config["max_length"] == 32
    assert (
        config["parameters"] == trained.parameters == sum(one.numel() for one in weights(tmp_path).values())
    )
    report = json.loads((made / "report.json").read_text())
    assert report["recipe"]["seed"] == 3 and len(report["history"]) == 3
    assert (made / "training.png").read_bytes().startswith(b"\x89PNG")


def test_a_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    train(tmp_path / "a")
    train(tmp_path / "b")
    train(tmp_path / "c", replace(RECIPE, seed=4))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize("kill_at", [5, 6, 7, 12, 14, 18])
def test_a_killed_training_goes_on_to_the_very_same_weights(
    kill_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 6 steps an epoch: within one, at its end, after it, with the checkpoint some steps ago."""
    unbroken = train(tmp_path / "unbroken")
    monkeypatch.setattr(training, "Rhythm", lambda: Eager(2))
    keep = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        train(tmp_path / "killed", told=Told(keep, kill_at))
    assert not list((tmp_path / "killed" / "made").iterdir())
    told = Told()
    resumed = train(tmp_path / "resumed", told=told, resume=keep)
    assert 1 < told.steps[0].step <= kill_at, "not from the start"
    assert same(weights(tmp_path / "unbroken"), weights(tmp_path / "resumed"))
    assert resumed == unbroken


def test_a_checkpoint_holds_no_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "Rhythm", lambda: Eager(1))
    train(tmp_path, told=Told(tmp_path / "kept"))
    names = {path.name for path in (tmp_path / "kept").iterdir()}
    assert names == {"checkpoint.safetensors", "tokenizer.json", "training.json"}


def test_by_its_own_rhythm_a_short_training_saves_nothing(tmp_path: Path) -> None:
    told = Told()
    train(tmp_path, told=told)
    assert told.saved == []


def test_a_cancel_stops_it_between_steps_between_measured_batches_and_while_it_reads(tmp_path: Path) -> None:
    for calls in range(1, 14):  # 2 while the pairs are read, 6 steps, 2 batches that are measured, …
        left = calls

        def check() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise JobCanceled("The job was canceled.")

        with pytest.raises(JobCanceled):
            train(tmp_path / str(calls), told=Told(check=check))


def test_without_pairs_to_measure_on_there_is_a_loss_only(tmp_path: Path) -> None:
    trained = train(tmp_path, replace(RECIPE, eval_share=0.0))
    assert trained.eval_pairs == 0 and trained.train_pairs == 60
    assert set(trained.history[0]) == {"epoch", "loss"}
    assert (tmp_path / "made" / "training.png").read_bytes().startswith(b"\x89PNG")


def test_smoothed_labels_change_the_training_and_not_what_loss_means(tmp_path: Path) -> None:
    plain, smooth = Told(), Told()
    train(tmp_path / "a", told=plain)
    train(tmp_path / "b", replace(RECIPE, label_smoothing=0.2), smooth)
    assert plain.steps[0].loss == pytest.approx(smooth.steps[0].loss), "the same before anything is learned"
    assert plain.steps[-1].loss < smooth.steps[-1].loss
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_the_smoothed_loss_is_torchs_own() -> None:
    torch.manual_seed(1)
    likely, wanted = torch.log_softmax(torch.randn(7, 11), -1), torch.randint(0, 11, (7,))
    for share in (0.0, 0.1):
        expected = torch.nn.functional.cross_entropy(likely, wanted, label_smoothing=share)
        nll, loss = training.losses(likely, wanted, share)
        assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
        assert nll.item() == pytest.approx(torch.nn.functional.nll_loss(likely, wanted).item())


def test_a_diverging_training_ends_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Infinite(training.Transformer):
        def logits(self, states: torch.Tensor) -> torch.Tensor:
            return super().logits(states) * float("inf")

    monkeypatch.setattr(training, "Transformer", Infinite)
    with pytest.raises(FinalError, match=r"step 1 is not a number. Lower learning_rate") as error:
        train(tmp_path)
    assert error.value.problem_code == "training-diverged"


def test_a_model_too_large_to_train_here_is_refused_before_it_is_made(tmp_path: Path) -> None:
    huge = replace(RECIPE, architecture=Architecture(4096, 64, 48, 48, 16_384, 0.1), vocabulary_size=100_000)
    many = replace(huge, architecture=replace(huge.architecture, num_encoder_layers=48_000))
    with pytest.raises(FinalError, match=r"parameters takes .* GB to train.*Lower batch_size") as error:
        train(tmp_path, many)
    assert error.value.problem_code == "out-of-memory"


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA"), RuntimeError("[enforce] DefaultCPUAllocator: no")]
)
def test_memory_that_runs_out_is_told_with_the_cure(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(training.Transformer, "forward", fail)
    with pytest.raises(FinalError, match="Lower batch_size") as told:
        train(tmp_path)
    assert told.value.problem_code == "out-of-memory"


def test_a_small_model_is_trained_on_one_thread_and_a_larger_one_on_as_many_as_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    told = Told(check=lambda: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    train(tmp_path / "small", replace(RECIPE, threads=3, epochs=1), told)
    assert seen[-1] == 1 and torch.get_num_threads() == before
    monkeypatch.setattr(threads, "SMALL", 100)
    train(tmp_path / "large", replace(RECIPE, threads=3, epochs=1), told)
    assert seen[-1] == 3 and torch.get_num_threads() == before


def test_pairs_that_are_too_long_are_left_out_and_counted(tmp_path: Path) -> None:
    long = ("1 " * 40, "one " * 40)
    trained = train(tmp_path / "some", pairs=[*PAIRS, long, long])
    assert (trained.skipped_pairs, trained.train_pairs + trained.eval_pairs) == (2, 60)
    with pytest.raises(
        FinalError, match=r"Of 5 pairs 5 have a side of more than 32 tokens.*has \d+ tokens"
    ) as error:
        train(tmp_path / "none", pairs=[long] * 5)
    assert error.value.problem_code == "pairs-too-long"


# --- batches ---


def encoded(pairs: list[tuple[str, str]] = PAIRS, longest: int = 32) -> tuple[PairTokenizer, Pairs]:
    tokenizer = PairTokenizer.learned([text for pair in pairs for text in pair], 300)
    return tokenizer, Pairs.encoded(tokenizer, pairs, longest, lambda: None)


def test_a_batch_is_begun_ended_and_padded() -> None:
    tokenizer, pairs = encoded()
    batch = pairs.batch(np.array([0, 37]))
    for row, place in enumerate((0, 37)):
        source, target = tokenizer.encode(list(PAIRS[place]))
        assert [one for one in batch.source[row].tolist() if one != PAD] == [*source, END]
        assert [one for one in batch.target[row].tolist() if one != PAD] == [BEGIN, *target]
        assert [one for one in batch.wanted[row].tolist() if one != PAD] == [*target, END]
        assert batch.target.shape == batch.wanted.shape


def test_an_epoch_has_every_row_once_in_batches_of_like_length_and_an_order_of_its_own() -> None:
    many = [("1 " * (1 + n % 20), "one " * (1 + n * 7 % 13)) for n in range(600)]
    _, pairs = encoded(many, 64)
    rows = np.arange(600)
    first, again, second = (batches.epoch(pairs, rows, 16, (1, number)) for number in (0, 0, 1))
    for one in (first, second):
        assert sorted(np.concatenate(one).tolist()) == rows.tolist()
        assert [len(batch) for batch in one].count(16) == 37
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]
    spread = [np.ptp(pairs.targets.lengths(batch)) for batch in first]
    assert np.mean(spread) < 3 < np.ptp(pairs.targets.lengths(rows))


@pytest.mark.parametrize(
    ("count", "share", "measured"), [(100, 0.1, 10), (4, 0.1, 1), (10, 0.0, 0), (2, 0.5, 1)]
)
def test_some_pairs_are_measured_on_and_never_trained_on(count: int, share: float, measured: int) -> None:
    train_rows, eval_rows = batches.split(count, share, 1)
    assert len(eval_rows) == measured
    assert sorted([*train_rows, *eval_rows]) == list(range(count))
