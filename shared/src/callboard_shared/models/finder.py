"""From the name in a job's input to a model: one on the shelf, or one of the job's owner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from callboard_shared.errors import FinalError, Invalid
from callboard_shared.jobs.base import Task
from callboard_shared.models.shelf import ModelRef, Shelf, unknown_model
from callboard_shared.models.store import ModelStore


@dataclass(frozen=True, slots=True)
class Found:
    """``owner``: whose it is; None for everybody's. ``folder`` brings the files here (which may take time);
    it is None for a hub model that the worker must fetch itself. ``size``: bytes."""

    name: str
    task: Task
    size: int
    owner: str | None
    folder: Callable[[], Path] | None

    @property
    def key(self) -> tuple[str | None, str]:
        """What tells it from every other model. Versions are never given twice."""
        return (self.owner, self.name)


class ModelFinder:
    """Shelf first: a trained model cannot take the place of one that everybody uses."""

    def __init__(self, shelf: Shelf, store: Callable[[], ModelStore]) -> None:
        self._shelf, self._store = shelf, store

    def find(self, owner: str, name: str, tasks: Sequence[Task]) -> Found:
        """Raises FinalError ``unknown-model``, naming those there are, or ``unsupported-format``; LedgerError."""
        refused: Invalid | None = None
        for task in tasks:
            try:
                return _on_shelf(self._shelf.resolve(name, task), task)
            except Invalid as error:
                if error.problem_code != "unknown-model":
                    refused = error
        store = self._store()
        model = store.find(owner, name)
        if model is not None and model.task in tasks:
            return Found(model.full_name, model.task, model.size, owner, lambda: store.folder(model))
        if refused is None:
            known = [ref for task in tasks for ref in self._shelf.refs(task)]
            refused = unknown_model(name, [*known, *store.names(owner, tasks)])
        raise FinalError(refused.detail, code=refused.problem_code, errors=refused.errors)


def _on_shelf(ref: ModelRef, task: Task) -> Found:
    path = ref.path
    return Found(ref.name, task, ref.size, None, None if path is None else lambda: path)
