"""Training with the real ultralytics, so small that an epoch takes a moment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labelled_shapes import HARD_NAMES, prepared, shapes_zip

from callboard_shared.errors import FinalError
from callboard_vision.drawn import CLASSES, shapes
from callboard_vision.engines import Options, open_detector
from callboard_vision.engines.training.bases import Base
from callboard_vision.engines.training.publishing import write_model
from callboard_vision.engines.training.recipe import Batch, Measures, Recipe, Telling, Trained
from callboard_vision.engines.training.training import train

pytestmark = pytest.mark.models

ARCHITECTURES = {
    "detect": "yolo11n.yaml", "segment": "yolo11n-seg.yaml", "pose": "yolo11n-pose.yaml",
    "classify-image": "yolo11n-cls.yaml", "obb": "yolo11n-obb.yaml",
}  # fmt: skip


class Interrupted(Exception):
    """As a killed worker would end a training, or a cancel."""


class Diary:
    """What a training tells. ``until``: (epoch, batch) after which it is interrupted."""

    def __init__(self, folder: Path, until: tuple[int, int] | None = None) -> None:
        self.folder, self.until = folder, until
        self.batches: list[Batch] = []
        self.epochs: list[Measures] = []
        self.saved: list[int] = []
        self.checks = 0

    def telling(self) -> Telling:
        return Telling(self.check, self.on_batch, lambda batch, entry: self.epochs.append(entry), self.save)

    def check(self) -> None:
        self.checks += 1
        if self.until is not None and self.batches:
            last = self.batches[-1]
            if (last.epoch, last.batch) >= self.until:
                raise Interrupted

    def on_batch(self, batch: Batch) -> None:
        self.batches.append(batch)

    def save(self, folder: Path, epoch: int) -> None:
        shutil.move(folder, self.folder / f"epoch-{epoch}")
        self.saved.append(epoch)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def recipe(cache: Path) -> Recipe:
    return Recipe("detect", 3, 64, 4, None, 100, None, seed=0, threads=1, cache=cache)


Run = Callable[..., tuple[Trained | None, Diary]]


@pytest.fixture
def run(recipe: Recipe, tmp_path: Path) -> Run:
    """Trains on six drawn pictures, three more are measured. Gives what came out, None if it was interrupted."""

    def trained(
        recipe: Recipe = recipe, *, base: Base | None = None, names: tuple[str, ...] = CLASSES,
        until: tuple[int, int] | None = None, resume: Path | None = None,
    ) -> tuple[Trained | None, Diary]:  # fmt: skip
        here = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        data = prepared(shapes_zip(recipe.task, names=names), recipe.task, here / "data").data
        for name in ("scratch", "kept"):
            (here / name).mkdir()
        diary = Diary(here / "kept", until)
        name = ARCHITECTURES[recipe.task]
        base = base or Base(name, recipe.task, name)
        try:
            return train(base, data, recipe, here / "scratch", diary.telling(), resume), diary
        except Interrupted:
            return None, diary

    return trained


def a_folder(trained: Trained, names: tuple[str, ...], recipe: Recipe, folder: Path) -> dict[str, str]:
    folder.mkdir()
    return write_model(trained, names, recipe, folder, {"epochs": len(trained.history)})


def test_a_detector_is_trained_tells_every_batch_and_can_be_used(
    run: Run, recipe: Recipe, tmp_path: Path
) -> None:
    trained, diary = run()
    assert trained is not None
    assert [entry["epoch"] for entry in trained.history] == [1, 2, 3] and diary.epochs == trained.history
    losses = {f"{part}{name}_loss" for part in ("", "val_") for name in ("box", "cls", "dfl")}
    measures = {"precision", "recall", "map50", "map50_95"}
    assert set(trained.history[0]) == {"epoch", *losses, *measures} and set(trained.kept) == measures
    assert [(one.epoch, one.batch, one.batches) for one in diary.batches] == [
        (epoch, batch, 2) for epoch in (1, 2, 3) for batch in (1, 2)
    ]
    assert set(diary.batches[0].losses) == {"box_loss", "cls_loss", "dfl_loss"}
    assert diary.saved == [1, 2], "the last epoch needs none"
    assert diary.checks >= 6 + 3, "also between batches that are measured"

    folder = tmp_path / "model"
    files = a_folder(trained, CLASSES, recipe, folder)
    assert files == {
        "weights": "best.pt", "onnx": "model.onnx", "training_plot": "training.png", "confusion_plot": "confusion.png",
        "precision_recall_plot": "precision_recall.png",
    }  # fmt: skip
    for name in ("training.png", "confusion.png", "precision_recall.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    config = json.loads((folder / "config.json").read_text())
    assert (config["kind"], config["task"]) == ("detector", "detect")
    detector = open_detector(folder, engine="onnxruntime", threads=1, cache=tmp_path / "cache")
    assert detector.facts.task == "detect" and dict(detector.facts.names) == dict(enumerate(CLASSES))
    pictures = [shapes(1, 64)[0], np.zeros((100, 40, 3), np.uint8), shapes(2, 200)[0]]
    for size in (64, 96):
        found = detector.detect(pictures, [Options(confidence=0.0, image_size=size)] * 3)
        assert all(len(one) > 0 and one.boxes.shape == (len(one), 4) for one in found), "any number, any size"


@pytest.mark.parametrize("task", ["segment", "pose", "obb", "classify-image"])
def test_every_task_is_trained_whatever_its_classes_are_called(
    task: Any, run: Run, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = replace(recipe, task=task, epochs=1)
    names = tuple(sorted(HARD_NAMES)) if task == "classify-image" else HARD_NAMES
    trained, diary = run(recipe, names=names)
    assert trained is not None and len(trained.history) == 1 and diary.saved == []
    expected = {
        "segment": {"map50", "mask_map50", "mask_map50_95"}, "pose": {"map50", "keypoint_map50"}, "obb": {"map50"},
        "classify-image": {"accuracy", "accuracy_top5"},
    }  # fmt: skip
    assert expected[task] <= set(trained.kept) and trained.kept.keys() <= trained.history[0].keys()
    files = a_folder(trained, names, recipe, tmp_path / "model")
    assert {"weights", "onnx", "training_plot", "confusion_plot"} <= set(files)
    detector = open_detector(tmp_path / "model", engine="onnxruntime", threads=1, cache=tmp_path / "cache")
    assert detector.facts.task == task and dict(detector.facts.names) == dict(enumerate(names))
    (found,) = detector.detect([shapes(1, 64)[0]], [Options(confidence=0.0, image_size=64)])
    assert (found.probabilities is not None) == (task == "classify-image")
    assert (found.corners is not None) == (task == "obb") and (found.outlines is not None) == (
        task == "segment"
    )


@pytest.mark.parametrize("until", [(2, 1), (3, 2)])
def test_a_training_that_was_killed_goes_on_with_the_epoch_after_its_checkpoint(
    until: tuple[int, int], run: Run, recipe: Recipe
) -> None:
    nothing, first = run(until=until)
    assert nothing is None
    last = first.saved[-1]
    assert last == until[0] - 1
    trained, second = run(resume=first.folder / f"epoch-{last}")
    assert trained is not None
    assert [one.epoch for one in second.batches][::2] == list(range(last + 1, 4))
    assert [entry["epoch"] for entry in trained.history] == [1, 2, 3]
    assert trained.history[:last] == first.epochs[:last], "what was measured before is not forgotten"
    table = (trained.run / "results.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table] == ["epoch", "1", "2", "3"], "nor is it in the plot"
    weights = torch.load(trained.best, weights_only=False)
    assert weights["train_args"]["epochs"] == 3 and weights["train_args"]["seed"] == recipe.seed


def test_a_cancel_is_heard_while_it_is_measured(run: Run) -> None:
    nothing, diary = run(until=(1, 2))
    assert nothing is None and len(diary.batches) == 2 and diary.epochs == []


def test_a_model_that_was_trained_here_is_trained_further(run: Run, recipe: Recipe, tmp_path: Path) -> None:
    trained, _ = run(replace(recipe, epochs=1))
    assert trained is not None
    a_folder(trained, CLASSES, recipe, tmp_path / "model")
    base = Base("mine@1", "detect", str(tmp_path / "model" / "best.pt"))
    barely = replace(recipe, epochs=1, learning_rate=1e-9)
    further, _ = run(barely, base=base)
    assert further is not None
    before = torch.load(trained.best, weights_only=False)["model"].float().state_dict()
    after = torch.load(further.best, weights_only=False)["model"].float().state_dict()
    name = "model.0.conv.weight"
    torch.testing.assert_close(before[name], after[name], rtol=1e-2, atol=1e-3)


def test_a_training_that_diverges_ends_with_the_cure(run: Run, recipe: Recipe, tmp_path: Path) -> None:
    trained, _ = run(replace(recipe, epochs=1))
    assert trained is not None
    weights = torch.load(trained.best, weights_only=False)
    next(weights["model"].parameters()).data.fill_(float("nan"))
    torch.save(weights, tmp_path / "broken.pt")
    with pytest.raises(FinalError, match="smaller learning_rate") as refused:
        run(base=Base("broken.pt", "detect", str(tmp_path / "broken.pt")))
    assert refused.value.problem_code == "training-diverged"


def test_a_recipe_that_trains_nothing_is_refused_with_the_cure(run: Run, recipe: Recipe) -> None:
    with pytest.raises(FinalError, match="freeze=40 leaves no layer") as refused:
        run(replace(recipe, freeze=40))
    assert refused.value.problem_code == "training-not-possible"
    with pytest.raises(FinalError, match="single picture") as refused:
        run(replace(recipe, image_size=32, batch_size=5))
    assert refused.value.problem_code == "training-not-possible"


def test_too_little_memory_halves_the_batch_and_in_the_end_is_told(
    run: Run, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a GPU would say so; the way through is the same."""
    from ultralytics.nn.tasks import DetectionModel

    right, largest = DetectionModel.loss, [2]

    def loss(model: Any, batch: Any, preds: Any = None) -> Any:
        if len(batch["img"]) > largest[0] and model.training:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return right(model, batch, preds)

    monkeypatch.setattr(DetectionModel, "loss", loss)
    trained, diary = run(replace(recipe, epochs=1))
    assert trained is not None and [(one.batch, one.batches) for one in diary.batches] == [
        (1, 3),
        (2, 3),
        (3, 3),
    ]
    largest[0] = 0
    with pytest.raises(FinalError, match="Lower batch_size") as refused:
        run(recipe)
    assert refused.value.problem_code == "out-of-memory"


def test_all_threads_that_were_given_are_used(run: Run, recipe: Recipe) -> None:
    seen: list[int] = []

    class Counting(Diary):
        def on_batch(self, batch: Batch) -> None:
            seen.append(torch.get_num_threads())

    before = torch.get_num_threads()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys.modules[__name__], "Diary", Counting)
            run(replace(recipe, epochs=1, threads=3))
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {3}


ALONE = """
import io, socket, sys
from pathlib import Path

def nobody(*asked, **more):
    raise AssertionError(f"it asked the network for {asked}")

socket.getaddrinfo = socket.create_connection = nobody
sys.path.insert(0, sys.argv[1])
from labelled_shapes import prepared, shapes_zip
from callboard_vision.engines.training.bases import Base
from callboard_vision.engines.training.publishing import write_model
from callboard_vision.engines.training.recipe import Recipe, Telling
from callboard_vision.engines.training.training import train

here = Path(sys.argv[2])
data = prepared(shapes_zip("detect"), "detect", here / "data")
recipe = Recipe("detect", 1, 64, 4, None, 100, None, 0, 1, here / "cache")
quiet = Telling(lambda: None, lambda batch: None, lambda batch, entry: None, lambda folder, epoch: None)
(here / "scratch").mkdir(), (here / "made").mkdir()
trained = train(Base("yolo11n.yaml", "detect", "yolo11n.yaml"), data.data, recipe, here / "scratch", quiet)
write_model(trained, data.names, recipe, here / "made", {})
"""


def test_ultralytics_says_nothing_asks_nobody_and_writes_nothing_at_home(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir(), work.mkdir()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("YOLO_", "MPL", "XDG_", "ULTRA"))
    }
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(Path(__file__).parent), str(work)],
        env={**kept, "HOME": str(home)}, cwd=work, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and done.stderr == ""
    assert list(home.rglob("*")) == []
    assert {path.name for path in work.iterdir()} == {"cache", "data", "made", "scratch"}
