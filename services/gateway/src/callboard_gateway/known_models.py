"""Which models everybody can name: those this installation has, and those that workers have announced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from callboard_shared.errors import Invalid, LedgerError
from callboard_shared.jobs import QUEUES, JobType, Task
from callboard_shared.ledger import AsyncLedger, modelling, verbs
from callboard_shared.ledger.records import Named
from callboard_shared.models import ModelInfo, Shelf, canonical, publishes

_TASK_OF_QUEUE: dict[str, Task] = {"nlp": "embed", "nlp-train": "embed", "llm": "chat", "vision": "detect"}
"""What a model is good for that is only known by name. Other queues announce what these do."""

LOOK_AGAIN_S = 10
LOOK_FOR_MISSING_S = 2
"""However many unknown names come, the disk is looked at no more often for them."""


class KnownModels:
    """Judges a submission's models from memory, which is refreshed in the background."""

    def __init__(self, ledger: AsyncLedger, shelf: Shelf | None = None) -> None:
        self._ledger = ledger
        self._shelf = shelf or Shelf()
        self._here: dict[Task, frozenset[str]] = {}
        self._announced: dict[str, frozenset[str]] = {}
        self._looked_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    def knows(self, job_type: JobType[Any, Any], field: str, name: str) -> bool:
        """Whether everybody may name this model in this field, as far as memory tells."""
        if name == job_type.input.model_fields[field].default:
            return True  # the worker that has it may not be online yet; the job waits for it
        return self.has(job_type.queue, job_type.models[field], name)

    def has(self, queue: str, tasks: Sequence[Task], name: str) -> bool:
        """Whether everybody may name this model, or this alias of one, for one of these tasks."""
        here = [self._here.get(task, frozenset()) for task in tasks]
        if any(canonical(name, names) in names for names in here) or publishes(name, tasks):
            return True
        if any(canonical(name, names) in names for names in self._here.values()):
            return False  # what a worker announces under this name is for another task
        announced = self._announced.get(queue, frozenset())
        return canonical(name, announced) in announced

    def refusal(self, named: Named) -> Invalid | None:
        """Why a model that is there is not taken (pickled weights, no encoder); None if there is none of the name."""
        error = self._shelf.refusal(named.value)
        if error is not None:
            fault = {"field": named.field, "message": error.detail, "code": error.problem_code}
            error.errors = [fault]
        return error

    def names(self, queue: str, tasks: Iterable[Task]) -> set[str]:
        """What everybody may name for one of these tasks."""
        here = {name for task in tasks for name in self._here.get(task, ())}
        return here | (self._announced.get(queue, frozenset()) if not here else set())

    async def list(self, owner: str) -> list[ModelInfo]:
        """Everybody's models and the owner's, by name."""
        announced = {
            name: _TASK_OF_QUEUE[queue]
            for queue, names in self._announced.items()
            if queue in _TASK_OF_QUEUE
            for name in names
        }
        infos = await asyncio.to_thread(self._shelf.infos, announced)
        trained = await self._ledger.run(modelling.list_models(owner))
        return sorted([*infos, *(model.info() for model in trained)], key=lambda info: info.name)

    async def look_for_missing(self) -> None:
        """Look at the disk, where a name that is not known may lie by now. Who asks meanwhile waits for the same
        look; within LOOK_FOR_MISSING_S of one, memory stands."""
        if self._looking is None or self._looking.done():
            if time.monotonic() - self._looked_at < LOOK_FOR_MISSING_S:
                return
            self._looking = asyncio.create_task(self._look_here(), name="look for missing models")
        await asyncio.shield(self._looking)  # a caller that leaves takes it from none of the others

    async def look(self) -> None:
        """Ask the ledger what workers announce, and look what is on the disk. Raises LedgerError."""
        await self._look_here()
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

    async def _look_here(self) -> None:
        refs = await asyncio.to_thread(lambda: self._shelf.refs(anew=True))
        tasks: tuple[Task, ...] = get_args(Task)
        self._here = {
            task: frozenset(name for name, ref in refs.items() if ref.serves(task)) for task in tasks
        }
        self._looked_at = time.monotonic()
