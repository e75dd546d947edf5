"""The handler of vision.train, up to where the training itself begins, and what it tells."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from looking import FakeContext
from zips import a_zip, changing, detecting

from callboard_shared.errors import FinalError
from callboard_shared.jobs.vision import TrainInput
from callboard_shared.models.looking import ARCHITECTURES
from callboard_shared.pictures import PictureSettings
from callboard_shared.worker import JobCanceled
from callboard_shared.worker.models import LocalModel
from callboard_vision.engines.training.bases import Base, base_of, vision_task
from callboard_vision.engines.training.measures import named
from callboard_vision.handlers.train import TrainHandlers


class Context(FakeContext):
    def progress(self, fraction: float, message: str | None = None, **told: Any) -> None:
        super().progress(fraction, message, step=told.get("step"), steps=told.get("steps"))

    def log(self, level: str, message: str) -> None:
        raise AssertionError("there is nothing to warn of here")


@dataclass
class FakeJob:
    input: TrainInput
    id: str = "job_1"
    owner: str = "key_1"
    attempt: int = 1
    context: Context = field(default_factory=Context)


class Shelf:
    """The models of a process: architectures."""

    def local(self, job: Any, name: str, *tasks: str) -> LocalModel:
        assert tasks == ("detect", "segment", "pose", "classify-image", "obb", "architecture")
        return LocalModel(name, "architecture", Path(name))


class FakeWorkshop:
    threads = 1

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch

    @contextmanager
    def folder(self, job: Any) -> Iterator[Path]:
        yield self._scratch

    @contextmanager
    def checkpoints(self, job: Any) -> Iterator[None]:
        yield None


def run(files: dict[str, bytes | str], folder: Path, job_of: Any = FakeJob, **given: Any) -> FakeJob:
    content = base64.b64encode(a_zip(files).getvalue()).decode()
    job: FakeJob = job_of(TrainInput.model_validate({"dataset": {"base64": content}, **given}))
    (folder / "scratch").mkdir()
    parts: Any = Shelf(), FakeWorkshop(folder / "scratch")
    handlers = TrainHandlers(*parts, PictureSettings(), folder / "cache")
    handlers.train(job)  # type: ignore[arg-type]
    return job


def test_a_data_set_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    files = changing(detecting(), {"labels/train/a.txt": "5 0.5 0.5 0.2 0.2", "images/val/c.png": b"?"})
    with pytest.raises(FinalError) as refused:
        run(files, tmp_path)
    assert refused.value.problem_code == "dataset-invalid"
    problem = json.loads(json.dumps(refused.value.problem()))
    assert [one["file"] for one in problem["errors"]] == ["labels/train/a.txt", "images/val/c.png"]
    assert problem["errors"][0]["line"] == 1


def test_a_base_of_another_task_asks_for_its_own_labels(tmp_path: Path) -> None:
    with pytest.raises(FinalError, match="an outline, not a box"):
        run(detecting(), tmp_path, base_model="yolo11n-seg.yaml")


def test_a_cancel_is_heard_while_pictures_are_checked(tmp_path: Path) -> None:
    def canceled(value: TrainInput) -> FakeJob:
        job = FakeJob(value)
        job.context.cancel()
        return job

    with pytest.raises(JobCanceled):
        run(detecting(), tmp_path, canceled)


@pytest.mark.parametrize(("name", "task"), sorted(ARCHITECTURES.items()))
def test_an_architecture_tells_its_task(name: str, task: str) -> None:
    assert base_of(LocalModel(name, "architecture", Path(name)), Path("cache")) == Base(
        name, vision_task(task), name
    )


def test_what_was_trained_here_can_be_trained_further(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "trained" / "0123"
    folder.mkdir(parents=True)
    model = LocalModel("mine@1", "segment", folder)
    with pytest.raises(FinalError, match="cannot be trained further") as refused:
        base_of(model, tmp_path / "cache")
    assert refused.value.problem_code == "not-trainable"
    (folder / "best.pt").write_bytes(b"weights")
    assert base_of(model, tmp_path / "cache") == Base("mine@1", "segment", str(folder / "best.pt"))


def test_pickled_weights_of_somebody_are_read_only_if_the_operator_vouches_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "plates.pt"
    weights.write_bytes(b"weights of somebody")
    model = LocalModel("plates.pt", "detect", weights)
    with pytest.raises(FinalError, match="runs code") as refused:
        base_of(model, tmp_path / "cache")
    assert refused.value.problem_code == "unsupported-format"
    monkeypatch.setenv("CALLBOARD_VISION_TRUSTED_WEIGHTS", hashlib.sha256(weights.read_bytes()).hexdigest())
    assert base_of(model, tmp_path / "cache").source == str(weights)


def test_an_onnx_file_cannot_be_trained(tmp_path: Path) -> None:
    (tmp_path / "street.onnx").write_bytes(b"onnx")
    with pytest.raises(FinalError) as refused:
        base_of(LocalModel("street", "detect", tmp_path / "street.onnx"), tmp_path / "cache")
    assert refused.value.problem_code == "not-trainable"


def test_measures_have_our_names() -> None:
    theirs = {
        "train/box_loss": 1, "val/cls_loss": 2, "train/loss": 3, "metrics/precision(B)": 0.1, "metrics/recall(B)": 0.2,
        "metrics/mAP50(B)": 0.3, "metrics/mAP50-95(M)": 0.4, "metrics/mAP50(P)": 0.5, "metrics/accuracy_top1": 0.6,
        "metrics/accuracy_top5": 0.7, "lr/pg0": 0.01, "metrics/new(B)": 1,
    }  # fmt: skip
    assert named(theirs) == {
        "box_loss": 1, "val_cls_loss": 2, "loss": 3, "precision": 0.1, "recall": 0.2, "map50": 0.3,
        "mask_map50_95": 0.4, "keypoint_map50": 0.5, "accuracy": 0.6, "accuracy_top5": 0.7,
    }  # fmt: skip
