"""What the gateway does with pipelines, below HTTP: accept, find, wait, cancel, delete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson
import structlog

from callboard_gateway.cursors import Position
from callboard_gateway.desk import Desk
from callboard_gateway.pipeline_submission import PipelineReader
from callboard_gateway.references import References
from callboard_gateway.wholes import WholeDesk
from callboard_shared.access import KeyLimits
from callboard_shared.errors import CallboardError, Conflict, Invalid, LedgerError, LedgerFull, NotFound
from callboard_shared.ids import is_id
from callboard_shared.ledger import Call, Filled, JobRecord, NewJob, conversing, pipelining, settling
from callboard_shared.ledger.lookup import read_jobs
from callboard_shared.ledger.pipelining import PER_CALL, NewPipeline, PipelineRecord
from callboard_shared.ledger.saying import refusal
from callboard_shared.pipelines.view import pipeline_view

log = structlog.get_logger(__name__)

GONE = "There is no such pipeline. It may have been deleted, or be past its retention."


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline's record, and its jobs in the order of its steps as far as they are there."""

    record: PipelineRecord
    jobs: list[JobRecord | None]

    @property
    def ended(self) -> bool:
        return self.record.status is not None

    def view(self, *, whole: bool = True) -> dict[str, Any]:
        return pipeline_view(self.record, self.jobs, whole=whole)


class PipelineDesk(WholeDesk[NewPipeline, Pipeline]):
    """``max_waiting``: jobs that one key may have waiting, unless ``limits_of`` its id says otherwise."""

    def __init__(
        self,
        desk: Desk,
        references: References,
        reader: PipelineReader,
        *,
        max_waiting: int,
        limits_of: Callable[[str], KeyLimits],
        ring: Callable[[str], None],
    ) -> None:
        self.desk, self.reader = desk, reader
        self._ledger, self._references = desk.ledger, references
        self._max_waiting, self._limits_of, self._ring = max_waiting, limits_of, ring

    # --- accepting ------------------------------------------------------------------------------------------

    def read(
        self, document: Any, owner: str, traceparent: str | None, pipeline_id: str | None
    ) -> NewPipeline:
        return self.reader.read(document, owner, traceparent, pipeline_id)

    async def submit(self, pipeline: NewPipeline, watcher: str = "") -> Pipeline:
        """Accept all steps, or none. Raises Invalid, LimitReached, Conflict or LedgerError: then none was accepted."""
        await self.desk.check_budget(pipeline.owner, pipeline.jobs)
        pipeline = replace(pipeline, jobs=tuple(await self._checked(pipeline)))
        await self._check_room(pipeline)
        if await self._ledger.run(pipelining.put(pipeline, watcher)):
            try:
                await self._begin(pipeline)
            except LedgerError as error:  # it is accepted: the courier goes on from here
                log.warning("pipeline.begun_late", pipeline=pipeline.id, reason=error.problem_code)
        return await self.find(pipeline.owner, pipeline.id)

    async def _checked(self, pipeline: NewPipeline) -> list[NewJob]:
        """The jobs, what they name being there."""
        jobs: list[NewJob] = []
        faults: list[dict[str, Any]] = []
        found = await self._references.check(pipeline.jobs)
        for step, job in zip(pipeline.steps, found, strict=True):
            if isinstance(job, CallboardError):
                faults += [
                    {**fault, "field": f"steps.{step.name}.{fault['field']}"} for fault in job.errors or ()
                ]
            else:
                jobs.append(job)
        if faults:
            detail = f"{faults[0]['field']}: {faults[0]['message']}"
            raise Invalid(detail, code=faults[0]["code"], errors=faults)
        return jobs

    async def _check_room(self, pipeline: NewPipeline) -> None:
        """Whether the jobs may wait and speak; what others submit in the next moment is not foreseen."""
        count = Counter(job.queue for job in pipeline.jobs)
        if any(await self._all([pipelining.is_full(queue) for queue in count])):
            raise LedgerFull("The ledger has no memory left for new jobs. Try again later.", retry_after_s=5)
        waiting = await self._all([pipelining.waiting(queue, pipeline.owner) for queue in count])
        most = self._limits_of(pipeline.owner).waiting or self._max_waiting
        over = any(now + more > most for now, more in zip(waiting, count.values(), strict=True))
        if refused := refusal("limit" if over else "", b"%d" % most):
            raise refused
        for step, job in zip(pipeline.steps, pipeline.jobs, strict=True):
            if job.says is not None and not step.needs:
                await self._check_conversation(step.name, job.owner, job.says.conversation)

    async def _check_conversation(self, step: str, owner: str, conversation_id: str) -> None:
        found = await self._ledger.run(conversing.find(owner, conversation_id))
        turns, _ = self.reader.room
        state, answering = "", b""
        if found is None:
            state = "unknown"
        elif found.running is not None:
            state, answering = "busy", found.running.encode()
        elif turns and found.turns + 2 > turns:
            state = "full"
        refused = refusal(state, answering)
        for fault in (refused.errors or ()) if refused else ():
            fault["field"] = f"steps.{step}.{fault['field']}"
        if refused is not None:
            raise refused

    async def _begin(self, pipeline: NewPipeline) -> None:
        """Submit the jobs, as blocked; have those told that wait for others; start the rest."""
        await self._all(pipelining.submissions(pipeline.jobs))
        await self._all(pipelining.registrations(pipeline.steps))
        first = [job for job in pipeline.jobs if not job.after]
        await self._start(first)
        await self._ledger.run(pipelining.carried_out(pipeline.id, canceled=False))

    async def _start(self, jobs: Sequence[NewJob]) -> None:
        """They wait for nothing but their pipeline."""
        room = self.reader.room
        made = [
            Filled(job.spec, job.batch_key or job.type, job.weight, job.expires_in_ms, job.says, room)
            for job in jobs
        ]
        answers = await self._all([_begun(job, one) for job, one in zip(jobs, made, strict=True)])
        for job, (ring, what, answering) in zip(jobs, answers, strict=True):
            refused = refusal(what, answering)
            if refused is not None:  # since it was looked at, another message has joined the conversation
                await self._ledger.run(_begun(job, orjson.dumps(refused.problem())))
            if ring:
                self._ring(job.queue)

    async def _all(self, calls: Sequence[Call[Any]]) -> list[Any]:
        answers = await self._ledger.run_many(calls) if calls else []
        for answer in answers:
            if isinstance(answer, LedgerError):
                raise answer
        return answers

    # --- reading --------------------------------------------------------------------------------------------

    async def _record(self, owner: str, pipeline_id: str) -> PipelineRecord:
        record = await self._ledger.run(pipelining.find(pipeline_id)) if is_id(pipeline_id, "pipe") else None
        if record is None or record.owner != owner:
            raise NotFound(GONE)
        return record

    async def find(self, owner: str, pipeline_id: str) -> Pipeline:
        """The owner's pipeline. Raises NotFound, also for another owner's."""
        record = await self._record(owner, pipeline_id)
        return Pipeline(record, await read_jobs(self._ledger, record.rows))

    async def page(
        self, owner: str, limit: int, before: Position | None
    ) -> tuple[list[Pipeline], Position | None]:
        """An owner's, newest first, and where the next page begins."""
        found: list[Pipeline] = []
        offset, newest = 0, None if before is None else before[0]
        while True:
            rows = await self._ledger.run(pipelining.owned(owner, newest, PER_CALL, offset))
            ids = [one for one, made in rows if before is None or (made, one) < before]
            for record in await self._ledger.run(pipelining.find_many(ids)):
                if record is None:
                    continue
                if len(found) == limit:
                    last = found[-1].record
                    return found, (last.created_ms, last.id)
                found.append(Pipeline(record, await read_jobs(self._ledger, record.rows)))
            offset += len(rows)
            if len(rows) < PER_CALL:
                return found, None

    def _watch(self, pipeline_id: str, watcher: str) -> Call[bool]:
        return pipelining.watch(pipeline_id, watcher)

    # --- changing -------------------------------------------------------------------------------------------

    async def cancel(self, owner: str, pipeline_id: str) -> Pipeline:
        """Cancel what has not ended. Raises Conflict if all had."""
        record = await self._record(owner, pipeline_id)
        outcome = await self._ledger.run(pipelining.cancel(pipeline_id))
        if outcome == "already-ended":
            record = await self._record(owner, pipeline_id)
            status = record.status.value if record.status else "over"
            raise Conflict(f"The pipeline has already ended: it is {status}.", code="already-ended")
        record = await self._record(owner, pipeline_id)
        steps, calls = zip(*pipelining.cancellations(record), strict=True)
        outcomes = await self._all(calls)
        ended = [step.job_id for step, how in zip(steps, outcomes, strict=True) if how == "ended"]
        await self._all([pipelining.step_ended(pipeline_id, job_id, "canceled") for job_id in ended])
        if not record.jobs:  # all of them were there to be canceled
            await self._ledger.run(pipelining.carried_out(pipeline_id, canceled=True))
        return await self.find(owner, pipeline_id)

    async def delete(self, owner: str, pipeline_id: str) -> None:
        """Forget an ended pipeline with its jobs and their files."""
        record = await self._record(owner, pipeline_id)
        if record.status is None:
            raise Conflict("The pipeline has not ended; cancel it first, then delete it.", code="unfinished")
        for job in await read_jobs(self._ledger, record.rows):
            if job is not None:
                with suppress(NotFound):  # its retention ended just now
                    await self.desk.delete(owner, job.id)
        await self._ledger.run(pipelining.remove(pipeline_id, owner))


def _begun(job: NewJob, made: Filled | bytes) -> Call[tuple[bool, str, bytes]]:
    """Tell a job that waits for its pipeline that this has begun."""
    return settling.settle(job.id, job.queue, job.pipeline, "succeeded", made)
