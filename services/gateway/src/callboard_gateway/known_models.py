"""Which models can be named: those this installation has, and those that workers have announced."""

from __future__ import annotations

import asyncio
import difflib
from typing import Any

from callboard_shared.errors import Invalid, LedgerError
from callboard_shared.jobs import QUEUES, JobType
from callboard_shared.ledger import AsyncLedger, verbs
from callboard_shared.models import TASK_OF_TYPE, ModelInfo, Shelf, Task

LOOK_AGAIN_S = 10


class KnownModels:
    """Judges a submission's model from memory, which is refreshed in the background; only a name that is not
    known makes it look at the disk."""

    def __init__(self, ledger: AsyncLedger, shelf: Shelf | None = None) -> None:
        self._ledger = ledger
        self._shelf = shelf or Shelf()
        self._here: dict[Task, frozenset[str]] = {}
        self._announced: dict[str, frozenset[str]] = {}

    def check(self, job_type: JobType[Any, Any], name: str) -> None:
        """Pass if a job of this type may name the model. Raises Invalid: ``unknown-model`` naming those there
        are, or ``unsupported-format``."""
        task = TASK_OF_TYPE.get(job_type.name)
        announced = self._announced.get(job_type.queue, frozenset())
        if task is None or name in self._here.get(task, ()) or name in announced:
            return
        if name == job_type.input.model_fields["model"].default:
            return  # the worker that has it may not be online yet; the job waits for it
        try:
            self._shelf.require(name, task, announced)
        except Invalid as error:
            raise _in_our_words(error, job_type.name, name) from None

    async def list(self) -> list[ModelInfo]:
        """Every model, by name."""
        announced = frozenset().union(*self._announced.values()) if self._announced else frozenset()
        return await asyncio.to_thread(self._shelf.infos, None, announced)

    async def look(self) -> None:
        """Ask the ledger what workers announce, and look what is on the disk. Raises LedgerError."""
        for task in set(TASK_OF_TYPE.values()):
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


def _in_our_words(error: Invalid, type_name: str, name: str) -> Invalid:
    """The same refusal with the field at fault, and a guess at what was meant."""
    detail = error.detail
    if error.problem_code == "unknown-model":
        known = [str(one) for one in (error.errors or [{}])[0].get("allowed", ())]
        close = difflib.get_close_matches(name, known, n=1)
        guess = f"Did you mean '{close[0]}'? " if close else ""
        detail = f"There is no model '{name[:100]}' for {type_name}. {guess}There are: {', '.join(known) or 'none'}."
    fault = {"field": "input.model", "message": detail, "code": error.problem_code}
    return Invalid(detail, code=error.problem_code, errors=[fault])
