"""What handlers that train have in common: a scratch folder, what they tell, and checkpoints."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from callboard_nlp.engines.finetune_recipe import Step, Telling
from callboard_shared.errors import CallboardError, FinalError, LedgerError
from callboard_shared.files import StorageFull
from callboard_shared.models.store import ModelStore
from callboard_shared.worker import Job, JobCanceled

TRAINED = 0.98
"""Of the progress; the rest is to publish."""
_FORGOTTEN_S = 7 * 86_400


class Workshop:
    """``store``: of this process; ``threads``: of the CPU; ``scratch``: on a disk, since /tmp may be memory."""

    def __init__(self, store: Callable[[], ModelStore], threads: int, scratch: Path) -> None:
        self.store, self.threads, self._scratch = store, threads, scratch

    @contextmanager
    def folder(self, job: Job[Any]) -> Iterator[Path]:
        """An empty folder. What attempts of this job that were killed left behind on this machine goes first, and what
        others left for a week, whose jobs went on elsewhere."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        for left in self._scratch.iterdir():
            if left.name.startswith(f"{job.id}-") or left.stat().st_mtime < time.time() - _FORGOTTEN_S:
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(
            prefix=f"{job.id}-", dir=self._scratch, ignore_cleanup_errors=True
        ) as made:
            yield Path(made)

    @contextmanager
    def checkpoints(self, job: Job[Any]) -> Iterator[None]:
        """Those of the job outlive an attempt that is made again, and no other."""
        try:
            yield
        except CallboardError as error:
            if isinstance(error, FinalError | JobCanceled):
                self.store().forget_checkpoints(job.id)
            raise
        except Exception:
            self.store().forget_checkpoints(job.id)
            raise
        self.store().forget_checkpoints(job.id)

    def restored(self, job: Job[Any], folder: Path) -> int | None:
        """The step of the job's newest checkpoint, which is put into ``folder`` (not there yet); None without one."""
        step = self.store().restore_checkpoint(job.id, folder)
        if step is not None:
            job.context.log("info", f"resumed from step {step}")
        return step

    def telling(self, job: Job[Any], keep: int) -> Telling:
        """Of a training whose input has ``epochs``. ``keep``: checkpoints, the newest ones."""
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

        def save(folder: Path, step: int) -> None:
            try:
                self.store().save_checkpoint(
                    folder, owner=job.owner, job_id=job.id, attempt=job.attempt, step=step, keep=keep
                )
            except (LedgerError, StorageFull) as error:
                # The training itself can do without.
                context.log("warning", f"the checkpoint of step {step} could not be saved: {error.detail}")

        return Telling(context.check_canceled, on_step, on_epoch, save)
