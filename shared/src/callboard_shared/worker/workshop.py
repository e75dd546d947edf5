"""What handlers that train have in common: a scratch folder, and checkpoints."""

from __future__ import annotations

import ctypes
import gc
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from callboard_shared.errors import CallboardError, FinalError, LedgerError
from callboard_shared.files import StorageFull
from callboard_shared.models.store import ModelStore
from callboard_shared.worker.job import Job, JobCanceled

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
        try:
            with tempfile.TemporaryDirectory(
                prefix=f"{job.id}-", dir=self._scratch, ignore_cleanup_errors=True
            ) as made:
                yield Path(made)
        finally:
            give_memory_back()

    @contextmanager
    def checkpoints(self, job: Job[Any], keep: int = 2) -> Iterator[Checkpoints]:
        """The ``keep`` newest of the job; they outlive an attempt that is made again, and no other."""
        kept = Checkpoints(job, self.store(), keep)
        try:
            with kept:
                yield kept
        except CallboardError as error:
            if isinstance(error, FinalError | JobCanceled):
                self.store().forget_checkpoints(job.id)
            raise
        except Exception:
            self.store().forget_checkpoints(job.id)
            raise
        self.store().forget_checkpoints(job.id)


class Checkpoints:
    """A job's checkpoints in the model store. Each is stored beside the training, which goes on meanwhile; what is
    still on its way is waited for by the next one, and at the end of the block."""

    def __init__(self, job: Job[Any], store: ModelStore, keep: int) -> None:
        self._job, self._store, self._keep = job, store, keep
        self._storing = ThreadPoolExecutor(1, "checkpoints")
        self._last: Future[None] | None = None

    def restored(self, folder: Path) -> int | None:
        """The step of the newest one, which is put into ``folder`` (not there yet); None without one."""
        step = self._store.restore_checkpoint(self._job.id, folder)
        if step is not None:
            self._job.context.log("info", f"resumed from step {step}")
        return step

    def save(self, folder: Path, step: int) -> None:
        """Take a folder over, to keep it as the checkpoint of a step."""
        self._await_last()
        self._last = self._storing.submit(self._stored, folder, step)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._await_last()
        finally:
            self._storing.shutdown()

    def _await_last(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def _stored(self, folder: Path, step: int) -> None:
        job = self._job
        try:
            self._store.save_checkpoint(
                folder, owner=job.owner, job_id=job.id, attempt=job.attempt, step=step, keep=self._keep
            )
        except (LedgerError, StorageFull) as error:
            # The training itself can do without.
            job.context.log("warning", f"the checkpoint of step {step} could not be saved: {error.detail}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def give_memory_back() -> None:
    """What was freed goes from the process to the machine: a worker that trains is told to keep it for its next step
    (see ``TRAINING_MALLOC``), and between jobs there is none. Does nothing where the C library is not glibc."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
