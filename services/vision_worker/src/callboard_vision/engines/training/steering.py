"""The callbacks that stand between ultralytics' trainer and the job: progress, history, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from callboard_shared.errors import FinalError
from callboard_vision.engines.training.checkpoints import write_checkpoint
from callboard_vision.engines.training.measures import named
from callboard_vision.engines.training.recipe import Batch, Measures, Telling


class Steering:
    """``history``: of the epochs before, to which those of this run are added."""

    def __init__(self, telling: Telling, history: list[Measures], scratch: Path) -> None:
        self._telling, self.history, self._scratch = telling, history, scratch
        self._number = 0
        self._batch: Batch

    def steer(self, trainer: Any) -> None:
        callbacks = {
            "on_train_epoch_start": self._on_epoch_start,
            "on_train_batch_start": self._check,
            "on_train_batch_end": self._on_batch_end,
            "on_train_epoch_end": self._on_epoch_end,
            "on_val_batch_start": self._check,
            "on_model_save": self._on_model_save,
        }
        for event, call in callbacks.items():
            trainer.add_callback(event, call)

    def _check(self, _: Any) -> None:
        self._telling.check()

    def _on_epoch_start(self, trainer: Any) -> None:
        self._number = 0
        trainer.plot_idx.clear()  # no pictures of what was trained on

    def _on_batch_end(self, trainer: Any) -> None:
        self._number += 1
        batches = max(self._number, len(trainer.train_loader))
        self._batch = Batch(trainer.epoch + 1, self._number, batches, _losses(trainer))
        self._telling.on_batch(self._batch)

    def _on_epoch_end(self, trainer: Any) -> None:
        # In a later epoch ultralytics goes back to its last checkpoint; here there is none.
        if trainer.epoch == trainer.start_epoch and not torch.isfinite(trainer.loss):
            raise diverged()

    def _on_model_save(self, trainer: Any) -> None:
        """Once an epoch, when it has been measured."""
        entry = {"epoch": trainer.epoch + 1, **_losses(trainer), **named(trainer.metrics)}
        self.history.append(entry)
        self._telling.on_epoch(self._batch, entry)
        if trainer.stop:
            return
        folder = self._scratch / f"checkpoint-{trainer.epoch + 1}"
        is_best = trainer.best_fitness == trainer.fitness
        write_checkpoint(trainer.save_dir, self.history, folder, best_is_last=is_best)
        self._telling.save(folder, trainer.epoch + 1)


def diverged() -> FinalError:
    return FinalError(
        "The training diverged: the loss is not a number any more. Give a smaller learning_rate, or leave it out.",
        code="training-diverged",
    )


def _losses(trainer: Any) -> Measures:
    return named(trainer.label_loss_items(trainer.tloss))
