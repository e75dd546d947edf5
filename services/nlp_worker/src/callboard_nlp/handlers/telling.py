"""What a training tells its job's owner."""

from __future__ import annotations

from typing import Any

from callboard_nlp.engines.telling import Step, Telling
from callboard_shared.worker import Job
from callboard_shared.worker.workshop import TRAINED, Checkpoints


def telling(job: Job[Any], checkpoints: Checkpoints) -> Telling:
    """Of a training whose input has ``epochs``."""
    context, epochs = job.context, job.input.epochs

    def on_step(at: Step) -> None:
        context.progress(
            TRAINED * at.step / at.steps, f"epoch {at.epoch} of {epochs}", step=at.step, steps=at.steps,
            loss=at.loss, learning_rate=at.learning_rate,
        )  # fmt: skip

    def on_epoch(at: Step, measured: dict[str, float]) -> None:
        name = "accuracy" if "accuracy" in measured else "loss"
        message = f"epoch {at.epoch} of {epochs}: {name} {measured[name]:.3f}"
        context.progress(TRAINED * at.step / at.steps, message, step=at.step, steps=at.steps, **measured)

    return Telling(context.check_canceled, on_step, on_epoch, checkpoints.save)
