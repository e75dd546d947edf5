"""What an input names: models and files. Those for everybody are known from memory; a caller's own models and files
are looked up in the ledger before the job is submitted, all of a batch in one round trip."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from callboard_gateway.known_models import KnownModels
from callboard_shared.contents import judge
from callboard_shared.errors import CallboardError, Invalid, LedgerError, NotFound, RequestError
from callboard_shared.files import FileRecord, ObjectStore
from callboard_shared.jobs import CATALOGUE, Task
from callboard_shared.ledger import AsyncLedger, Call, NewJob, filing, modelling
from callboard_shared.ledger.records import Named
from callboard_shared.models import TrainedModel
from callboard_shared.pictures import PictureSettings, about

_MOST_LISTED = 50


class References:
    """``store``: where the contents of files lie; ``pictures``: which are taken."""

    def __init__(
        self,
        ledger: AsyncLedger,
        models: KnownModels,
        store: Callable[[], ObjectStore],
        pictures: PictureSettings,
    ) -> None:
        self._ledger, self._models, self._store, self._pictures = ledger, models, store, pictures

    async def check(self, jobs: Sequence[NewJob]) -> list[NewJob | CallboardError]:
        """Per job the one to submit, or what it names in vain. Raises LedgerError."""
        found = await self._answers(dict(_look_up(job.owner, named) for job in jobs for named in job.names))
        if self._in_vain(jobs, found):
            await self._models.look_for_missing()
        in_vain = self._in_vain(jobs, found)
        owners = dict.fromkeys(job.owner for job, _ in in_vain)
        own = await self._answers({owner: modelling.list_models(owner) for owner in owners})
        refused: dict[str, CallboardError] = {}
        for job, named in in_vain:
            model = found[job.owner, named.kind, named.value]
            refused[job.id] = (
                _wrong_task(named, model) if model else self._unknown_model(job, named, own[job.owner])
            )
            await asyncio.sleep(0)  # guessing what was meant takes its time: let other requests through
        checked = [refused.get(job.id) or _checked(job, found) for job in jobs]
        given = {
            named
            for job in checked
            if isinstance(job, NewJob)
            for named in job.names
            if named.kind in ("picture", "video")
        }
        bad = await asyncio.to_thread(self._bad_contents, given) if given else {}
        return [_first_bad(job, bad) or job if isinstance(job, NewJob) else job for job in checked]

    def _bad_contents(self, given: Iterable[Named]) -> dict[Named, RequestError]:
        """What is wrong with those that cannot be used, by their first and last bytes."""
        bad = {}
        for named in given:
            try:
                with self._store().open(named.value) as content:
                    judge("video" if named.kind == "video" else "picture", content, self._pictures)
            except NotFound:
                continue  # deleted just now: the worker says so
            except RequestError as error:
                bad[named] = about(error, named.field)
        return bad

    async def _answers(self, calls: Mapping[Any, Call[Any]]) -> dict[Any, Any]:
        """All of them in one round trip, by their keys."""
        answers = await self._ledger.run_many(list(calls.values())) if calls else []
        for answer in answers:
            if isinstance(answer, LedgerError):
                raise answer
        return dict(zip(calls, answers, strict=True))

    def _in_vain(self, jobs: Sequence[NewJob], found: Mapping[Any, Any]) -> list[tuple[NewJob, Named]]:
        """Models that neither their owner nor everybody has for what they are named for."""
        return [
            (job, named)
            for job in jobs
            for named in job.names
            if named.kind == "model"
            and not _is_own(job, named, found)
            and not self._models.has(job.queue, named.tasks, named.value)
        ]

    def _unknown_model(self, job: NewJob, named: Named, own: Sequence[TrainedModel]) -> Invalid:
        refused = self._models.refusal(named)
        if refused is not None:
            return refused
        mine = (model.full_name for model in own if model.task in named.tasks)
        known = sorted({*self._models.names(job.queue, named.tasks), *mine})
        close = difflib.get_close_matches(named.value, known, n=1)
        guess = f"Did you mean '{close[0]}'? " if close else ""
        listed = ", ".join(known[:_MOST_LISTED]) or "none"
        detail = f"There is no model '{named.value[:100]}' for {job.type}. {guess}There are: {listed}."
        fault = {
            "field": named.field, "message": detail, "code": "unknown-model", "allowed": known[:_MOST_LISTED],
        }  # fmt: skip
        return Invalid(detail, code="unknown-model", errors=[fault])


def _is_own(job: NewJob, named: Named, found: Mapping[Any, Any]) -> bool:
    """Whether it is the owner's model, or may be by the time that the job starts."""
    model: TrainedModel | None = found[job.owner, named.kind, named.value]
    if model is None:
        return bool(job.after)  # the job that it waits for may be training it; its worker judges
    return model.task in named.tasks


def _checked(job: NewJob, found: Mapping[Any, Any]) -> NewJob | CallboardError:
    """``job``, the models that it names being there."""
    for named in job.names:
        if named.kind != "model":
            file: FileRecord | None = found[job.owner, named.kind, named.value]
            if file is None or file.owner != job.owner:
                return _unknown_file(named)
    if any(named.kind == "model" and _is_own(job, named, found) for named in job.names):
        # Two keys may have models of one name: their jobs must not share a batch.
        return replace(job, batch_key=f"{job.batch_key}|{job.owner}")
    return job


def _first_bad(job: NewJob, bad: Mapping[Named, CallboardError]) -> CallboardError | None:
    return next((bad[named] for named in job.names if named in bad), None)


def _look_up(owner: str, named: Named) -> tuple[tuple[str, str, str], Call[Any]]:
    if named.kind != "model":
        return (owner, named.kind, named.value), filing.get_file(named.value)
    return (owner, "model", named.value), modelling.find_model(owner, named.value)


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
