"""What a webhook says of the thing that its event happened to, as that is when the webhook is sent.

Nothing of it is kept beside the job: what is deleted meanwhile is sent to nobody. A kind of thing is known by the
prefix of its id; another one joins ``READERS``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import orjson

from callboard_shared.batches.view import batch_view
from callboard_shared.ledger import AsyncLedger, JobRecord, batching, pipelining
from callboard_shared.ledger.batching import BatchRecord
from callboard_shared.ledger.deliveries import Due
from callboard_shared.ledger.lookup import read_jobs
from callboard_shared.ledger.pipelining import PipelineRecord
from callboard_shared.pipelines.view import pipeline_view
from callboard_shared.states import JobStatus
from callboard_shared.tracing import traceparent_in
from callboard_shared.view import job_view, timestamp

MOST_BYTES = 20_000
"""A larger body goes without input and output: the receiver reads those from the job."""

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tell:
    """``view`` gives the data; ``traceparent``: the context that the thing carries."""

    view: Callable[[], Data]
    traceparent: str | None = None


Reader = Callable[[AsyncLedger, Sequence[Due]], Awaitable[list[Tell]]]


async def _jobs(ledger: AsyncLedger, dues: Sequence[Due]) -> list[Tell]:
    places = list(dict.fromkeys((due.queue, due.subject) for due in dues))
    found = dict(zip(places, await read_jobs(ledger, places), strict=True))
    return [_tell_job(due, found[due.queue, due.subject]) for due in dues]


def _tell_job(due: Due, record: JobRecord | None) -> Tell:
    return Tell(partial(_job, due, record), traceparent_in(record.spec) if record else None)


def _job(due: Due, record: JobRecord | None) -> Data:
    status = JobStatus(due.event.removeprefix("job."))
    if record is None:  # deleted meanwhile, or past its retention
        links = {"self": f"/v1/jobs/{due.subject}"}
        return {
            "id": due.subject, "type": due.type, "queue": due.queue, "status": status.value, "attempt": due.run,
            "links": links,
        }  # fmt: skip
    if status is JobStatus.RUNNING and (record.status, record.attempt) != (status, due.run):
        record = replace(
            record, status=status, attempt=due.run, output=None, error=None, usage=None, progress=None, finished_ms=None
        )  # fmt: skip
    return job_view(record)


async def _pipelines(ledger: AsyncLedger, dues: Sequence[Due]) -> list[Tell]:
    """Without the jobs of its steps, which have webhooks of their own, and are read from where ``links`` says."""
    ids = list(dict.fromkeys(due.subject for due in dues))
    found = await ledger.run(pipelining.find_many(ids))
    records = dict(zip(ids, found, strict=True))
    return [
        Tell(partial(_pipeline, due, records[due.subject], await _steps(ledger, records[due.subject])))
        for due in dues
    ]


async def _steps(ledger: AsyncLedger, record: PipelineRecord | None) -> list[JobRecord | None]:
    return await read_jobs(ledger, record.rows) if record is not None else []


def _pipeline(due: Due, record: PipelineRecord | None, jobs: Sequence[JobRecord | None]) -> Data:
    if record is None:  # deleted meanwhile, or past its retention
        status = due.event.removeprefix("pipeline.")
        return {"id": due.subject, "status": status, "links": {"self": f"/v1/pipelines/{due.subject}"}}
    return pipeline_view(record, jobs, whole=False)


async def _batches(ledger: AsyncLedger, dues: Sequence[Due]) -> list[Tell]:
    ids = list(dict.fromkeys(due.subject for due in dues))
    found = await ledger.run(batching.find_many(ids))
    records = dict(zip(ids, found, strict=True))
    return [_tell_batch(due, records[due.subject]) for due in dues]


def _tell_batch(due: Due, record: BatchRecord | None) -> Tell:
    return Tell(partial(_batch, due, record), record.spec.traceparent if record else None)


def _batch(due: Due, record: BatchRecord | None) -> Data:
    if record is None:  # deleted meanwhile, or past its retention
        status = due.event.removeprefix("batch.")
        return {"id": due.subject, "status": status, "links": {"self": f"/v1/batches/{due.subject}"}}
    return batch_view(record, batching.summed([]))  # it has ended, and its counts are its own


async def _tests(ledger: AsyncLedger, dues: Sequence[Due]) -> list[Tell]:
    message = "This is a test. Verify its signature, and answer 2xx."
    return [Tell(partial(dict, endpoint_id=due.subject, message=message)) for due in dues]


READERS: dict[str, Reader] = {"job": _jobs, "pipe": _pipelines, "batch": _batches, "whe": _tests}


async def look_up(ledger: AsyncLedger, dues: Sequence[Due]) -> dict[str, Tell]:
    """What gives the data of each delivery, by its id; none for a kind of subject that is not known. Raises
    LedgerError."""
    by_kind: dict[str, list[Due]] = {}
    for due in dues:
        by_kind.setdefault(due.subject.partition("_")[0], []).append(due)
    found: dict[str, Tell] = {}
    for kind, some in by_kind.items():
        if kind in READERS:
            told = await READERS[kind](ledger, some)
            found.update((due.id, one) for due, one in zip(some, told, strict=True))
    return found


def body(due: Due, data: Data) -> bytes:
    """The JSON of a webhook; thin where it would be too large."""
    envelope = {"type": due.event, "timestamp": timestamp(due.at_ms), "data": data}
    full = orjson.dumps(envelope)
    if len(full) <= MOST_BYTES:
        return full
    thin = {name: value for name, value in data.items() if name not in ("input", "output")}
    return orjson.dumps(envelope | {"data": thin})
