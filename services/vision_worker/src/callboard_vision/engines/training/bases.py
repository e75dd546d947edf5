"""What a training starts from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from callboard_shared.errors import FinalError
from callboard_shared.models.looking import ARCHITECTURES
from callboard_shared.worker.models import LocalModel
from callboard_vision.engines.description import TASKS
from callboard_vision.engines.interface import VisionTask
from callboard_vision.engines.opening import vouched_for

WEIGHTS = "best.pt"
"""In the folder of a model that was trained here."""


@dataclass(frozen=True, slots=True)
class Base:
    """``source``: an architecture by ultralytics' name for it (``yolo11n.yaml``), or a file of weights."""

    name: str
    task: VisionTask
    source: str


def base_of(model: LocalModel, cache: Path) -> Base:
    """``cache``: that of the models. Raises FinalError: ``not-trainable``, ``unsupported-format``."""
    if model.task == "architecture":
        return Base(model.name, vision_task(ARCHITECTURES[model.name]), model.name)
    weights = model.path / WEIGHTS if model.path.is_dir() else model.path
    if weights.suffix != ".pt" or not weights.is_file():
        raise FinalError(
            f"Model {model.name} cannot be trained further: it holds no weights of ultralytics' (.pt). Start from an "
            "architecture (yolo11n.yaml), from weights (yolo11n.pt), or from what vision.train made.",
            code="not-trainable",
        )
    if not vouched_for(weights, cache):
        raise FinalError(
            f"The weights of {model.name} are a pickle, which runs code when it is read. List its sha256 in "
            "CALLBOARD_VISION_TRUSTED_WEIGHTS if you trust where it comes from.",
            code="unsupported-format",
        )
    return Base(model.name, vision_task(model.task), str(weights))


def vision_task(task: str) -> VisionTask:
    return next(ours for ours in TASKS.values() if ours == task)
