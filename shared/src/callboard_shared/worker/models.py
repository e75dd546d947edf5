"""The models that this process holds, of every kind: named by jobs, opened by an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from callboard_shared.errors import CallboardError, FinalError
from callboard_shared.jobs.base import Task
from callboard_shared.ledger.metering import TALLY
from callboard_shared.models.finder import Found, ModelFinder
from callboard_shared.models.memory import LoadedModels
from callboard_shared.worker.job import Job

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenModel:
    """``name``: its own, where the job's may have been an alias or without a version; ``engine``: what its task's
    opener gave."""

    name: str
    task: Task
    engine: Any


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model's own name, what it does, and its local folder or file."""

    name: str
    task: Task
    path: Path


class Models:
    """``openers``: by task, from a model's folder to what computes with it; ``fetch``: brings a hub model here;
    ``unreadable``: what an opener raises, besides the usual, of a folder that is not whole."""

    def __init__(
        self,
        finder: ModelFinder,
        openers: Mapping[Task, Callable[[Path], Any]],
        loaded: LoadedModels,
        fetch: Callable[[str], Path],
        unreadable: tuple[type[Exception], ...] = (),
    ) -> None:
        self._finder, self._openers, self._loaded, self._fetch = finder, openers, loaded, fetch
        self._unreadable: tuple[type[Exception], ...] = (
            OSError,
            RuntimeError,
            ValueError,
            KeyError,
            *unreadable,
        )

    def get(self, jobs: Sequence[Job[Any]], name: str, *tasks: Task) -> OpenModel:
        """The model for jobs of one owner, loaded if it is not yet. Raises a JobError or LedgerError."""
        found = self._finder.find(jobs[0].owner, name, tasks)
        if found.owner is not None and any(job.owner != found.owner for job in jobs):
            raise FinalError(f"Jobs of several keys came together for {found.name}.", code="handler-error")
        if not self._loaded.holds(found.key):
            for job in jobs:
                job.context.progress(0.0, f"loading model {found.name}")
        engine = self._loaded.get(found.key, found.size, lambda: self._opened(found))
        return OpenModel(found.name, found.task, engine)

    def folder(self, job: Job[Any], name: str, *tasks: Task) -> tuple[str, Path]:
        """A model's own name and its local folder, for what reads it by itself (training)."""
        local = self.local(job, name, *tasks)
        return local.name, local.path

    def local(self, job: Job[Any], name: str, *tasks: Task) -> LocalModel:
        """A model that is not opened here, for what reads it by itself. Raises a JobError or LedgerError."""
        found = self._finder.find(job.owner, name, tasks)
        return LocalModel(found.name, found.task, self._folder(found))

    def warm(self, name: str, task: Task) -> Any:
        """Load a model for everybody before the first job asks for it. Raises a JobError."""
        found = self._finder.find("", name, (task,))
        return self._loaded.get(found.key, found.size, lambda: self._opened(found))

    def _opened(self, found: Found) -> Any:
        try:
            folder = self._folder(found)
            with TALLY.timing("load", _label(found)):
                engine = self._openers[found.task](folder)
        except CallboardError:
            raise
        except self._unreadable as error:
            raise FinalError(
                f"Model {found.name} could not be loaded: {error}. Is its folder whole?",
                code="model-not-loadable",
            ) from error
        log.info("model.loaded", model=found.name, engine=getattr(engine, "engine", None))
        return engine

    def _folder(self, found: Found) -> Path:
        return self._fetch(found.name) if found.folder is None else found.folder()


def _label(found: Found) -> str:
    """A model's name where the operator chose it; users name theirs as they like, and hub models without end."""
    return found.name if found.owner is None and found.folder is not None else "other"
