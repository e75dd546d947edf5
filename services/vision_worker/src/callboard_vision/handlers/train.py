"""The handler of vision.train."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from callboard_shared.jobs.vision import DETECTING, TrainInput
from callboard_shared.models import TrainedModel
from callboard_shared.models.shelf import KIND_OF_TASK
from callboard_shared.pictures import PictureSettings
from callboard_shared.worker import Job
from callboard_shared.worker.models import Models
from callboard_shared.worker.workshop import TRAINED, Checkpoints, Workshop
from callboard_vision.data.dataset import Prepared, prepare
from callboard_vision.engines.interface import VisionTask
from callboard_vision.engines.training.bases import Base, base_of
from callboard_vision.engines.training.recipe import Batch, Measures, Recipe, Telling, Trained

_CHECKED = 0.02
"""Of the progress; up to there the data set is checked."""


class TrainHandlers:
    """``pictures``: which are taken; ``cache``: the folder of what outlives jobs."""

    def __init__(self, models: Models, workshop: Workshop, pictures: PictureSettings, cache: Path) -> None:
        self._models, self._workshop, self._pictures, self._cache = models, workshop, pictures, cache

    def train(self, job: Job[TrainInput]) -> dict[str, Any]:
        # The checkpoints last: one that is on its way out of the folder is waited for first.
        with self._workshop.folder(job) as scratch, self._workshop.checkpoints(job) as kept:
            return self._train(job, scratch, kept)

    def _train(self, job: Job[TrainInput], scratch: Path, checkpoints: Checkpoints) -> dict[str, Any]:
        context = job.context
        local = self._models.local(job, job.input.base_model, *DETECTING, "architecture")
        base = base_of(local, self._cache)
        recipe = self._recipe(job.input, base.task)
        prepared = self._prepared(job, base, scratch / "data")

        from callboard_vision.engines.training.publishing import write_model
        from callboard_vision.engines.training.training import train

        for warning in prepared.warnings:
            context.log("warning", warning)
        context.progress(_CHECKED, "starting the training")
        made, resume = scratch / "model", scratch / "resumed"
        made.mkdir()
        resumed = checkpoints.restored(resume)
        trained = train(
            base, prepared.data, recipe, scratch, _telling(job, checkpoints),
            resume if resumed is not None else None,
        )  # fmt: skip
        context.check_canceled()
        context.progress(TRAINED, "publishing the model")
        report = _report(base, prepared, trained) | {"recipe": _shown(recipe)}
        files = write_model(trained, prepared.names, recipe, made, report)
        context.check_canceled()
        model = self._publish(job, made, base, prepared, trained)
        return _output(model, base, prepared, trained, resumed, files)

    def _prepared(self, job: Job[TrainInput], base: Base, folder: Path) -> Prepared:
        context = job.context
        context.progress(0.0, "checking the data set")

        def check(done: int, total: int) -> None:
            context.check_canceled()
            context.progress(_CHECKED * done / total, "checking the data set", step=done, steps=total)

        folder.mkdir()
        with context.open_file(job.input.dataset) as file:
            return prepare(
                file.content, base.task, folder, seed=job.input.seed, threads=self._workshop.threads, check=check,
                pictures=self._pictures,
            )  # fmt: skip

    def _publish(
        self, job: Job[TrainInput], made: Path, base: Base, prepared: Prepared, trained: Trained
    ) -> TrainedModel:
        details = _report(base, prepared, trained)
        details = {name: details[name] for name in details if name != "history"}
        return self._workshop.store().publish(
            made, owner=job.owner, job_id=job.id, name=job.input.name, kind=KIND_OF_TASK[base.task],
            task=base.task, metrics=trained.kept, details=details,
        )  # fmt: skip

    def _recipe(self, value: TrainInput, task: VisionTask) -> Recipe:
        return Recipe(
            task, value.epochs, value.image_size, value.batch_size, value.learning_rate, value.patience,
            value.freeze, value.seed, self._workshop.threads, self._cache,
        )  # fmt: skip


def _telling(job: Job[TrainInput], checkpoints: Checkpoints) -> Telling:
    context, epochs = job.context, job.input.epochs

    def tell(at: Batch, message: str, measured: Measures) -> None:
        step, steps = (at.epoch - 1) * at.batches + at.batch, epochs * at.batches
        fraction = _CHECKED + (TRAINED - _CHECKED) * step / steps
        context.progress(fraction, message, step=step, steps=steps, **measured)

    def on_batch(at: Batch) -> None:
        tell(at, f"epoch {at.epoch} of {epochs}", at.losses)

    def on_epoch(at: Batch, measured: Measures) -> None:
        name = "accuracy" if "accuracy" in measured else "map50"
        tell(at, f"epoch {at.epoch} of {epochs}: {name} {measured[name]:.3f}", measured)

    return Telling(context.check_canceled, on_batch, on_epoch, checkpoints.save)


def _report(base: Base, prepared: Prepared, trained: Trained) -> dict[str, Any]:
    return {
        "base_model": base.name,
        "classes": list(prepared.names),
        "train_images": prepared.train_images,
        "eval_images": prepared.eval_images,
        "epochs": len(trained.history),
        "history": trained.history,
    }


def _shown(recipe: Recipe) -> dict[str, Any]:
    return {name: value for name, value in asdict(recipe).items() if name not in ("cache", "threads")}


def _output(
    model: TrainedModel,
    base: Base,
    prepared: Prepared,
    trained: Trained,
    resumed: int | None,
    files: dict[str, str],
) -> dict[str, Any]:
    output: dict[str, Any] = {
        "model": model.full_name,
        "task": base.task,
        **{
            name: trained.kept[name]
            for name in ("map50", "map50_95", "precision", "recall")
            if name in trained.kept
        },
        "measures": trained.kept,
        **_report(base, prepared, trained),
        "files": {what: model.reference(path) for what, path in files.items()},
    }
    if resumed is not None:
        output["resumed_from_epoch"] = resumed
    if prepared.warnings:
        output["warnings"] = list(prepared.warnings)
    return output
