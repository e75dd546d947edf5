"""The models that this process holds, of every kind: named by jobs, opened by an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from safetensors import SafetensorError

from callboard_nlp.engines.hub import fetched
from callboard_shared.errors import CallboardError, FinalError
from callboard_shared.jobs.base import Task
from callboard_shared.models.finder import Found, ModelFinder
from callboard_shared.models.memory import LoadedModels
from callboard_shared.worker import Job

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenModel:
    """``name``: its own, where the job's may have been an alias or without a version; ``engine``: what its task's
    opener gave (an Encoder, a Classifier, WordVectors, a Writer)."""

    name: str
    task: Task
    engine: Any


class Models:
    """``openers``: by task, from a model's folder to what computes with it."""

    def __init__(
        self, finder: ModelFinder, openers: Mapping[Task, Callable[[Path], Any]], loaded: LoadedModels
    ) -> None:
        self._finder, self._openers, self._loaded = finder, openers, loaded

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
        found = self._finder.find(job.owner, name, tasks)
        return found.name, _folder(found)

    def warm(self, name: str, task: Task) -> Any:
        """Load a model for everybody before the first job asks for it. Raises a JobError."""
        found = self._finder.find("", name, (task,))
        return self._loaded.get(found.key, found.size, lambda: self._opened(found))

    def _opened(self, found: Found) -> Any:
        try:
            engine = self._openers[found.task](_folder(found))
        except CallboardError:
            raise
        except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
            raise FinalError(
                f"Model {found.name} could not be loaded: {error}. Is its folder whole?",
                code="model-not-loadable",
            ) from error
        log.info("model.loaded", model=found.name, engine=getattr(engine, "engine", None))
        return engine


def _folder(found: Found) -> Path:
    return fetched(found.name) if found.folder is None else found.folder()
