"""What the gateway does with jobs, below HTTP: submit, find, wait, cancel, retry, delete."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson
import structlog

from callboard_gateway.budgets import Budgets
from callboard_gateway.inquiries import Inquiries
from callboard_gateway.references import References
from callboard_gateway.stopping import Stopping
from callboard_gateway.submitter import Submitter
from callboard_shared.errors import CallboardError, Conflict, Invalid, LedgerError, NotFound
from callboard_shared.ids import is_id, new_id
from callboard_shared.jobs import CATALOGUE
from callboard_shared.ledger import AsyncLedger, JobRecord, NewJob, Submitted, pipelining, settling, verbs
from callboard_shared.ledger.lookup import find_job, read_jobs
from callboard_shared.ledger.news import Bulletin, News
from callboard_shared.pipelines.view import unfilled
from callboard_shared.submission import Reader
from callboard_shared.webhooks import hook

log = structlog.get_logger(__name__)

QUEUES_WITH_JOBS = tuple(dict.fromkeys(job_type.queue for job_type in CATALOGUE))
LOOK_AGAIN_S = 5
"""A lost message of the news delays a waiter by no more."""

DeleteFile = Callable[[str, str], Awaitable[None]]
"""Removes a file's record and content, given its id and its owner."""


@dataclass(frozen=True, slots=True)
class Replay:
    """An idempotency key was seen before, with the same body: the job id of that time."""

    job_id: str


class Desk:
    def __init__(
        self,
        ledger: AsyncLedger,
        submitter: Submitter,
        news: News,
        reader: Reader,
        stopping: Stopping,
        references: References,
        budgets: Budgets,
        *,
        ring: Callable[[str], None],
        delete_file: DeleteFile | None = None,
        feed_window_ms: int = 300_000,
    ) -> None:
        self.ledger = ledger
        self.news = news
        self.inquiries = Inquiries(ledger, news.name, feed_window_ms)
        self.reader = reader
        self.stopping = stopping
        self._references = references
        self._budgets = budgets
        self._submitter = submitter
        self._ring = ring
        self._delete_file = delete_file

    # --- submitting -----------------------------------------------------------------------------------------

    async def submit(self, job: NewJob) -> JobRecord:
        """Accept a job. Raises LimitReached, LedgerError, Invalid for what it names and is not there, or Conflict for a
        conversation that takes no message now."""
        await self.check_budget(job.owner, [job])
        if job.names:
            (checked,) = await self._references.check([job])
            if isinstance(checked, CallboardError):
                raise checked
            job = checked
        if not job.after:
            return JobRecord.submitted(job, await self._submitter.submit(job))
        queues = await self.dependencies(job.owner, job.after)
        check_dependencies(job, queues)
        record = JobRecord.submitted(job, await self._submitter.submit(job))
        settled = await self._register([job], queues)
        return await self.find(job.owner, job.id) if settled else record

    async def check_budget(self, owner: str, jobs: Sequence[NewJob]) -> None:
        """Raises LimitReached if the key has used up what it may use today."""
        if over := await self._budgets.check(owner, jobs):
            raise over

    async def submit_many(self, jobs: Sequence[NewJob]) -> list[JobRecord | CallboardError]:
        """Accept jobs of one owner in one round trip; per job what became of it, in order."""
        after = {one for job in jobs for one in job.after}
        queues = await self.dependencies(jobs[0].owner, tuple(after)) if after else {}
        await self.check_budget(jobs[0].owner, jobs)
        found: dict[str, JobRecord | CallboardError] = {}
        accepted: list[NewJob] = []
        for job, checked in zip(jobs, await self._references.check(jobs), strict=True):
            try:
                if isinstance(checked, CallboardError):
                    raise checked
                check_dependencies(checked, queues)
                accepted.append(checked)
            except CallboardError as error:
                found[job.id] = error
        results = await self._submitter.submit_many(accepted)
        existed: list[tuple[str, str]] = []
        for job, result in zip(accepted, results, strict=True):
            found[job.id] = JobRecord.submitted(job, result) if isinstance(result, Submitted) else result
            if isinstance(result, Submitted) and result.existed:
                existed.append((job.queue, job.id))
        if existed:
            found.update((one.id, one) for one in await read_jobs(self.ledger, existed) if one is not None)
        if after:
            await self._register([job for job in accepted if isinstance(found[job.id], JobRecord)], queues)
        return [found[job.id] for job in jobs]

    async def reserve(self, owner: str, key: str, body: bytes, job_id: str) -> Replay | None:
        """Keep an idempotency key for 24 hours. None: it was free, go on with ``job_id``.

        Raises Invalid (``idempotency-mismatch``) if it was used with another body.
        """
        sha256 = hashlib.sha256(body).hexdigest()
        name = hashlib.sha256(key.encode()).hexdigest()[:32]  # of one length, whatever the caller chose
        first = await self.ledger.run(verbs.begin_idempotent(owner, name, sha256, job_id))
        if first is None:
            return None
        if first[0] != sha256:
            raise Invalid(
                "This Idempotency-Key was used within 24 hours for another request, or with another body. Use a new "
                "key for a new request.",
                code="idempotency-mismatch",
            )
        await self.ledger.run(verbs.reaffirm_idempotent(owner, name, *first))
        return Replay(first[1])

    # --- reading --------------------------------------------------------------------------------------------

    async def find(self, owner: str, job_id: str) -> JobRecord:
        """The owner's job. Raises NotFound, also for another owner's."""
        record = await find_job(self.ledger, QUEUES_WITH_JOBS, job_id) if is_id(job_id, "job") else None
        if record is None or record.owner != owner:
            raise NotFound("There is no such job. It may have been deleted, or be past its retention.")
        return record

    async def ended(self, record: JobRecord, bulletin: Bulletin) -> JobRecord:
        """The job when it has ended; for use within a deadline. ``bulletin`` must have been there before ``record``."""
        while not record.status.is_terminal:
            await bulletin.wait(LOOK_AGAIN_S)
            try:
                status = await self.inquiries.status(record.queue, record.id)
                if status is not None and not status.is_terminal:
                    continue
                fresh = await self.inquiries.record(record.queue, record.id)
            except LedgerError:
                await asyncio.sleep(0.5)  # whoever waits for a job outlasts a ledger that is briefly away
                continue
            if fresh is None:
                raise NotFound("The job was deleted while it was waited for.")
            record = fresh
        return record

    async def pause(self, bulletin: Bulletin, seconds: float) -> bool:
        """Wait for news; False when there were none. Ends at once when the server stops."""
        with suppress(TimeoutError):
            async with self.stopping.within(seconds):
                return await bulletin.wait(seconds + 1)
        await asyncio.sleep(0)
        return self.stopping.begun

    async def wait(
        self, owner: str, job_id: str, seconds: float, gone: Callable[[], Awaitable[None]]
    ) -> JobRecord:
        """The job when it has ended, or as it is after ``seconds``, or when the caller is ``gone``."""
        record = await self.find(owner, job_id)
        if record.status.is_terminal:
            return record
        async with self.news.watch(job_id, record.queue) as bulletin:
            record = await self.find(owner, job_id)
            return await self.until(record, bulletin, seconds, gone)

    async def until(
        self, record: JobRecord, bulletin: Bulletin, seconds: float, gone: Callable[[], Awaitable[None]]
    ) -> JobRecord:
        """``record`` when it has ended, or read again when the time is up."""
        with suppress(TimeoutError):
            async with self.stopping.while_there(seconds, gone):
                return await self.ended(record, bulletin)
        (fresh,) = await self.ledger.run(verbs.read(record.queue, [record.id]))
        return fresh or record

    # --- changing -------------------------------------------------------------------------------------------

    async def cancel(self, owner: str, job_id: str) -> tuple[JobRecord, bool]:
        """The job, and whether it ended at once. Raises Conflict if it had ended already."""
        record = await self.find(owner, job_id)
        outcome = await self.ledger.run(verbs.cancel(job_id, record.queue))
        record = await self.find(owner, job_id)
        if outcome == "already-ended":
            raise Conflict(f"The job has already ended: it is {record.status.value}.", code="already-ended")
        return record, outcome == "ended"

    async def retry(self, owner: str, job_id: str, key: str | None = None) -> tuple[JobRecord, bool]:
        """A new job like an ended one, and whether an earlier request with this idempotency key has made it."""
        old = await self.find(owner, job_id)
        if not old.status.is_terminal:
            raise Conflict(
                f"The job is {old.status.value}; only one that has ended can be retried.", code="unfinished"
            )
        job = self._again(old)
        replay = None if key is None else await self.reserve(owner, key, f"retry {job_id}".encode(), job.id)
        if replay is None:
            return await self.submit(job), False
        try:
            return await self.find(owner, replay.job_id), True
        except NotFound:  # reserved, but never submitted: the first request was cut off in between
            return await self.submit(replace(job, id=replay.job_id)), True

    async def delete(self, owner: str, job_id: str) -> None:
        """Forget an ended job, and its files."""
        record = await self.find(owner, job_id)
        await self._check_free(record)
        outcome, files = await self.ledger.run(verbs.delete(job_id, record.queue))
        if outcome == "missing":
            raise NotFound("There is no such job.")
        if outcome == "unfinished":
            raise Conflict(
                f"The job is {record.status.value}; cancel it first, then delete it.", code="unfinished"
            )
        if outcome == "held":
            raise Conflict(
                f"The job is a line of {files[0]}, which has not ended; cancel that first.", code="unfinished"
            )
        for file_id in files:
            if self._delete_file is not None:
                await self._delete_file(file_id, owner)

    async def _check_free(self, record: JobRecord) -> None:
        """Raises Conflict for a step whose output a later one may need."""
        pipeline_id = (orjson.loads(record.spec).get("pipeline") or {}).get("id")
        pipeline = await self.ledger.run(pipelining.find(pipeline_id)) if pipeline_id else None
        if pipeline is not None and pipeline.status is None:
            raise Conflict(
                f"The job is a step of {pipeline_id}, which has not ended; cancel that first.",
                code="unfinished",
            )

    def _again(self, old: JobRecord) -> NewJob:
        spec: dict[str, Any] = orjson.loads(old.spec)
        if unfilled(spec):
            raise Conflict(
                "The job is a step of a pipeline and never got its input; submit the pipeline again.",
                code="never-started",
            )
        spec.pop("after", None)  # what it waited for has ended
        spec.pop("pipeline", None)  # nor is a repetition a part of that
        spec.pop("batch", None)
        spec["retried_from"] = old.id
        expires_s, webhook = self.reader.expires_s, spec.get("webhook")
        job = NewJob(
            id=new_id("job"),
            type=old.type,
            queue=old.queue,
            owner=old.owner,
            spec=orjson.dumps(spec),
            priority=old.priority,
            expires_in_ms=None if expires_s is None else int(expires_s * 1000),
            timeout_ms=old.timeout_ms,
            max_attempts=old.max_attempts,
            retention_ms=old.retention_ms,
            hook=hook(webhook["events"], webhook["url"]) if webhook else "",
        )
        return self.reader.again(spec, job)

    # --- jobs that wait for others ----------------------------------------------------------------------------

    async def dependencies(self, owner: str, after: Sequence[str]) -> dict[str, str]:
        """The queue of each of these jobs, of those that exist and are the owner's."""
        found: dict[str, str] = {}
        for answer in await self.ledger.run_many([verbs.read(queue, after) for queue in QUEUES_WITH_JOBS]):
            if isinstance(answer, LedgerError):
                raise answer
            found.update({one.id: one.queue for one in answer if one is not None and one.owner == owner})
        return found

    async def _register(self, jobs: Sequence[NewJob], queues: dict[str, str]) -> bool:
        """Have the others tell these jobs when they end, and take note of those that have; whether any had.

        What a fault leaves out here, the sweep does later.
        """
        pairs = [(job, one) for job in jobs for one in job.after]
        replies = await self.ledger.run_many(
            [settling.depend(one, queues[one], job.id, job.queue) for job, one in pairs]
        )
        over = [
            (job, settling.settle(job.id, job.queue, one, reply))
            for (job, one), reply in zip(pairs, replies, strict=True)
            if not isinstance(reply, LedgerError) and reply != "pending"
        ]
        for (job, _), reply in zip(over, await self.ledger.run_many([call for _, call in over]), strict=True):
            if not isinstance(reply, LedgerError) and reply[0]:
                self._ring(job.queue)
        return bool(over)


def check_dependencies(job: NewJob, queues: dict[str, str]) -> None:
    """422 naming those jobs in ``after`` of which no queue is known."""
    errors = [
        {"field": f"after.{index}", "message": "there is no such job", "code": "unknown-job"}
        for index, one in enumerate(job.after)
        if one not in queues
    ]
    if errors:
        raise Invalid("A job named in 'after' does not exist.", errors=errors)
