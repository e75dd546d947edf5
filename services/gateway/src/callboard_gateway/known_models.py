"""Which models everybody can name: those this installation has, and those that workers have announced."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from callboard_shared.errors import Invalid, LedgerError
from callboard_shared.jobs import CATALOGUE, QUEUES, JobType, Task
from callboard_shared.ledger import AsyncLedger, modelling, verbs
from callboard_shared.ledger.records import Named
from callboard_shared.models import ModelInfo, Shelf

LOOK_AGAIN_S = 10
_TASKS = frozenset(task for one in CATALOGUE for tasks in one.models.values() for task in tasks)


class KnownModels:
    """Judges a submission's models from memory, which is refreshed in the background."""

    def __init__(self, ledger: AsyncLedger, shelf: Shelf | None = None) -> None:
        self._ledger = ledger
        self._shelf = shelf or Shelf()
        self._here: dict[Task, frozenset[str]] = {}
        self._announced: dict[str, frozenset[str]] = {}

    def knows(self, job_type: JobType[Any, Any], field: str, name: str) -> bool:
        """Whether everybody may name this model in this field. Only a name that is not known looks at the disk."""
        tasks = job_type.models[field]
        if any(name in self._here.get(task, ()) for task in tasks):
            return True
        elsewhere = any(name in names for names in self._here.values())
        if name in self._announced.get(job_type.queue, ()) and not elsewhere:
            return True
        if name == job_type.input.model_fields[field].default:
            return True  # the worker that has it may not be online yet; the job waits for it
        return any(self._shelf.has(name, task) for task in tasks)

    def refusal(self, named: Named) -> Invalid | None:
        """Why a model that is there is not taken (pickled weights, no encoder); None if there is none of the name."""
        try:
            self._shelf.refuse(named.value)
        except Invalid as error:
            fault = {"field": named.field, "message": error.detail, "code": error.problem_code}
            return Invalid(error.detail, code=error.problem_code, errors=[fault])
        return None

    def names(self, queue: str, tasks: Iterable[Task]) -> set[str]:
        """What everybody may name for one of these tasks."""
        here = {name for task in tasks for name in self._here.get(task, ())}
        return here | (self._announced.get(queue, frozenset()) if not here else set())

    async def list(self, owner: str) -> list[ModelInfo]:
        """Everybody's models and the owner's, by name."""
        announced = frozenset().union(*self._announced.values()) if self._announced else frozenset()
        infos = await asyncio.to_thread(self._shelf.infos, None, announced)
        trained = await self._ledger.run(modelling.list_models(owner))
        return sorted([*infos, *(model.info() for model in trained)], key=lambda info: info.name)

    async def look(self) -> None:
        """Ask the ledger what workers announce, and look what is on the disk. Raises LedgerError."""
        for task in _TASKS:
            refs = await asyncio.to_thread(self._shelf.refs, task, anew=True)
            self._here[task] = frozenset(refs)
        answers = await self._ledger.run_many([verbs.workers(queue) for queue in QUEUES])
        for queue, answer in zip(QUEUES, answers, strict=True):
            if (
                not isinstance(answer, LedgerError) and answer
            ):  # with nobody online, what was announced last stands
                self._announced[queue] = frozenset(model for worker in answer for model in worker.models)

    async def keep_fresh(self) -> None:
        while True:
            try:
                await self.look()
            except LedgerError:
                await asyncio.sleep(1)  # what is known stands
            await asyncio.sleep(LOOK_AGAIN_S)
