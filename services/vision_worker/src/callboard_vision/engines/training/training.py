"""From a folder of checked data to weights, with ultralytics' trainer of the task."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import disk_usage
from typing import Any

import torch

from callboard_shared.errors import FinalError
from callboard_vision.engines.description import TASKS
from callboard_vision.engines.training.bases import Base
from callboard_vision.engines.training.checkpoints import read_checkpoint
from callboard_vision.engines.training.library import training_library
from callboard_vision.engines.training.measures import named
from callboard_vision.engines.training.recipe import Recipe, Telling, Trained
from callboard_vision.engines.training.steering import Steering, diverged

_TASK_NAMES = {ours: theirs for theirs, ours in TASKS.items()}
_TRAINERS = {
    "detect": "DetectionTrainer", "segment": "SegmentationTrainer", "pose": "PoseTrainer",
    "classify": "ClassificationTrainer", "obb": "OBBTrainer",
}  # fmt: skip
_MOST_LOADERS = 8
_SHARED_MEMORY = Path("/dev/shm")  # nosec B108  # looked at, not written
_LEAST_SHARED_BYTES = 1024**3
"""Processes that load pictures hand them over in shared memory; containers have 64 MiB of it by default."""


def train(
    base: Base, data: Path, recipe: Recipe, scratch: Path, telling: Telling, resume: Path | None = None
) -> Trained:
    """Train on ``data`` (see ``Prepared``). ``scratch``: an empty folder; ``resume``: a folder that ``telling.save``
    was given, of a training with the same recipe.

    A resumed training goes on with the epoch after: from the moving average of the weights, as ultralytics does, so
    that it comes to as good a model, not to the same bits. Raises FinalError (``training-diverged``,
    ``out-of-memory``, ``training-not-possible``), and what ``telling`` raises.
    """
    training_library(recipe.cache, recipe.threads)
    run = scratch / "run"
    history = read_checkpoint(resume, run) if resume is not None else []
    steering = Steering(telling, history, scratch)
    with _plain_errors(recipe), _plain_plots():
        if resume is not None:
            given = {"resume": str(run / "weights" / "last.pt"), "data": str(data), "save_dir": str(run)}
            trainer = _trainer(recipe, {**given, "workers": _loaders(recipe.threads)})
        else:
            trainer = _trainer(recipe, _arguments(base, data, recipe, run))
        steering.steer(trainer)
        trainer.train()
    best = Path(trainer.best)
    if not best.exists():
        raise diverged()
    return Trained(best, run, steering.history, named(trainer.metrics))


def _trainer(recipe: Recipe, arguments: dict[str, Any]) -> Any:
    from ultralytics.models import yolo

    task = _TASK_NAMES[recipe.task]
    return getattr(getattr(yolo, task), _TRAINERS[task])(overrides={"task": task, **arguments})


def _arguments(base: Base, data: Path, recipe: Recipe, run: Path) -> dict[str, Any]:
    """ultralytics' own (https://docs.ultralytics.com/usage/cfg/); what is not said is left to it."""
    chosen: dict[str, Any] = {}
    if recipe.learning_rate is not None:
        chosen |= {"optimizer": "AdamW", "lr0": recipe.learning_rate}
    if recipe.freeze is not None:
        chosen["freeze"] = recipe.freeze
    return chosen | {
        "model": base.source, "data": str(data), "epochs": recipe.epochs, "imgsz": recipe.image_size,
        "batch": recipe.batch_size, "patience": recipe.patience, "seed": recipe.seed, "deterministic": True,
        "workers": _loaders(recipe.threads), "save_dir": str(run), "exist_ok": True, "plots": True, "verbose": False,
    }  # fmt: skip


def _loaders(threads: int) -> int:
    """Processes that load pictures beside a GPU; on a CPU ultralytics takes none by itself."""
    if not torch.cuda.is_available() or not _SHARED_MEMORY.exists():
        return 0
    return min(threads, _MOST_LOADERS) if disk_usage(_SHARED_MEMORY).free >= _LEAST_SHARED_BYTES else 0


@contextmanager
def _plain_errors(recipe: Recipe) -> Iterator[None]:
    """What ultralytics and torch raise, told with its cure."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise FinalError(
            f"The GPU has too little memory for this training: {str(error)[:200]} Lower batch_size (now "
            f"{recipe.batch_size}) or image_size.",
            code="out-of-memory",
        ) from None
    except RuntimeError as error:
        if "NaN" in str(error):
            raise diverged() from error
        if "froze the entire model" in str(error):
            raise _impossible(
                f"freeze={recipe.freeze} leaves no layer to be trained. Give a smaller one."
            ) from error
        raise
    except ValueError as error:
        if "BatchNorm" in str(error):
            raise _impossible(
                "The last batch would hold a single picture, which is too little at this image_size. Give another "
                "batch_size, or a larger image_size."
            ) from error
        raise


def _impossible(detail: str) -> FinalError:
    return FinalError(detail, code="training-not-possible")


@contextmanager
def _plain_plots() -> Iterator[None]:
    """Class names are drawn as they are: ``$`` begins no formula, and a letter without a font is a box."""
    import matplotlib as mpl

    with warnings.catch_warnings(), mpl.rc_context({"text.parse_math": False}):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield
