"""What an input names: models and files. Those for everybody are known from memory; a caller's own models and files
are looked up in the ledger before the job is submitted, all of a batch in one round trip."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from callboard_gateway.known_models import KnownModels
from callboard_shared.errors import CallboardError, Invalid, LedgerError
from callboard_shared.files import FileRecord
from callboard_shared.jobs import CATALOGUE, Task
from callboard_shared.ledger import AsyncLedger, Call, NewJob, filing, modelling
from callboard_shared.ledger.records import Named
from callboard_shared.models import TrainedModel


class References:
    def __init__(self, ledger: AsyncLedger, models: KnownModels) -> None:
        self._ledger, self._models = ledger, models

    async def check(self, jobs: Sequence[NewJob]) -> list[NewJob | CallboardError]:
        """Per job the one to submit, or what it names in vain. Raises LedgerError."""
        calls = {
            key: call for job in jobs for named in job.names for key, call in _look_ups(job.owner, named)
        }
        answers = (
            dict(zip(calls, await self._ledger.run_many(list(calls.values())), strict=True)) if calls else {}
        )
        for answer in answers.values():
            if isinstance(answer, LedgerError):
                raise answer
        return [await self._checked(job, answers) if job.names else job for job in jobs]

    async def _checked(self, job: NewJob, answers: dict[Any, Any]) -> NewJob | CallboardError:
        own = False
        for named in job.names:
            found = answers[job.owner, named.kind, named.value]
            if named.kind == "file":
                if not isinstance(found, FileRecord) or found.owner != job.owner:
                    return _unknown_file(named)
            elif isinstance(found, TrainedModel):
                if found.task not in named.tasks:
                    return _wrong_task(named, found)
                own = True
            elif job.after:
                own = True  # the job that it waits for may be training it; its worker judges
            else:
                trained = await self._ledger.run(modelling.list_models(job.owner))
                mine = [model.full_name for model in trained if model.task in named.tasks]
                return self._unknown_model(job, named, mine)
        # Two keys may have models of one name: their jobs must not share a batch.
        return replace(job, batch_key=f"{job.batch_key}|{job.owner}") if own else job

    def _unknown_model(self, job: NewJob, named: Named, mine: Iterable[str]) -> Invalid:
        refused = self._models.refusal(named)
        if refused is not None:
            return refused
        known = sorted({*self._models.names(job.queue, named.tasks), *mine})
        close = difflib.get_close_matches(named.value, known, n=1)
        guess = f"Did you mean '{close[0]}'? " if close else ""
        listed = ", ".join(known[:50]) or "none"
        detail = f"There is no model '{named.value[:100]}' for {job.type}. {guess}There are: {listed}."
        fault = {"field": named.field, "message": detail, "code": "unknown-model", "allowed": known}
        return Invalid(detail, code="unknown-model", errors=[fault])


def _look_ups(owner: str, named: Named) -> Iterable[tuple[Any, Call[Any]]]:
    if named.kind == "file":
        yield (owner, "file", named.value), filing.get_file(named.value)
    else:
        yield (owner, "model", named.value), modelling.find_model(owner, named.value)


def _unknown_file(named: Named) -> Invalid:
    detail = (
        f"There is no file '{named.value[:64]}'. Upload it with POST /v1/files and give the id that it gets."
    )
    fault = {"field": named.field, "message": detail, "code": "unknown-file"}
    return Invalid(detail, code="unknown-file", errors=[fault])


def _wrong_task(named: Named, model: TrainedModel) -> Invalid:
    takers = ", ".join(takers_of(model.task))
    detail = f"Model {model.full_name} is a {model.kind} and cannot do this. It can be named in: {takers}."
    fault = {"field": named.field, "message": detail, "code": "wrong-model"}
    return Invalid(detail, code="wrong-model", errors=[fault])


def takers_of(task: Task) -> list[str]:
    """The job types that take a model for this task."""
    return [one.name for one in CATALOGUE if any(task in tasks for tasks in one.models.values())]
