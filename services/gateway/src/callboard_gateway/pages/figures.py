"""What the console shows, read from the ledger and made ready for reading."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Request

from callboard_shared.errors import LedgerError, NotFound
from callboard_shared.ids import is_id
from callboard_shared.jobs import CATALOGUE, QUEUES
from callboard_shared.ledger import AsyncLedger, Call, Event, JobRecord, QueueStats, verbs
from callboard_shared.ledger.lookup import find_job, read_jobs
from callboard_shared.states import JobStatus
from callboard_shared.view import job_view, timestamp

LATEST_JOBS = 20
SHOWN_EVENTS = 200
SHOWN_CHARS = 20_000
_LONG_LIST = 12

RETRYABLE = frozenset({JobStatus.FAILED, JobStatus.CANCELED, JobStatus.EXPIRED})
_SERVED = {job_type.queue for job_type in CATALOGUE}


async def board(request: Request, owner: str) -> dict[str, Any]:
    """The live part of the first page: queues, workers, the key's latest jobs."""
    ledger: AsyncLedger = request.app.state.ledger
    calls: list[Call[Any]] = [verbs.queue_stats(queue) for queue in QUEUES]
    calls += [verbs.workers(queue) for queue in QUEUES]
    calls += [verbs.owned(queue, owner, None, None, LATEST_JOBS) for queue in QUEUES]
    replies = await ledger.run_many(calls)
    for reply in replies:
        if isinstance(reply, LedgerError):
            raise reply
    of_queue = list(zip(QUEUES, replies[2 * len(QUEUES) :], strict=True))
    newest = sorted(((made, job, queue) for queue, found in of_queue for job, made in found), reverse=True)
    records = await read_jobs(ledger, [(queue, job) for _, job, queue in newest[:LATEST_JOBS]])
    return {
        "queues": [stats for stats in replies[: len(QUEUES)] if stats.name in _SERVED or _busy(stats)],
        "workers": [worker for found in replies[len(QUEUES) : 2 * len(QUEUES)] for worker in found],
        "jobs": [row(record) for record in records if record is not None],
    }


def _busy(stats: QueueStats) -> bool:
    jobs = stats.ready + stats.running + stats.scheduled + stats.blocked
    return bool(jobs or stats.workers or stats.paused)


def row(record: JobRecord) -> dict[str, Any]:
    """A job as a line of the list."""
    view = job_view(record)
    progress = orjson.loads(record.progress) if record.progress else {}
    return {
        "id": record.id,
        "type": record.type,
        "status": record.status.value,
        "created_at": view["created_at"],
        "fraction": progress.get("fraction") if record.status is JobStatus.RUNNING else None,
        "position": view["queue_position"],
        "run_ms": (view["usage"] or {}).get("run_ms"),
        "can_cancel": not record.status.is_terminal and record.status is not JobStatus.CANCELING,
        "can_retry": record.status in RETRYABLE,
    }


async def owned_job(request: Request, owner: str, job_id: str) -> JobRecord:
    """The job, if it is the owner's. Raises ``NotFound``."""
    ledger: AsyncLedger = request.app.state.ledger
    record = await find_job(ledger, QUEUES, job_id) if is_id(job_id, "job") else None
    if record is None or record.owner != owner:
        raise NotFound("There is no such job.")
    return record


async def detail(request: Request, owner: str, job_id: str) -> dict[str, Any]:
    """The page of one job: its view, its latest events, its documents as text."""
    record = await owned_job(request, owner, job_id)
    ledger: AsyncLedger = request.app.state.ledger
    events = await ledger.run(verbs.events(job_id, record.queue))
    view = job_view(record)
    output = orjson.loads(record.output) if record.output else None
    error = orjson.loads(record.error) if record.error and view["error"] else None
    return {
        "job": view | {"output": None, "error": None, "progress": None},
        "row": row(record),
        "ended": record.status.is_terminal,
        "progress": orjson.loads(record.progress) if record.progress else None,
        "documents": {
            name: show(value)
            for name, value in (("error", error), ("output", output), ("input", view["input"]))
            if value is not None
        },
        "files": _files(output),
        "events": [event_line(event) for event in events[-SHOWN_EVENTS:]],
    }


def event_line(event: Event) -> dict[str, str]:
    """An event as time, kind and a short text."""
    data = orjson.loads(event.data)
    known: Mapping[str, str] = {"status": "status", "log": "message", "delta": "text", "progress": "message"}
    text = str(data.get(known.get(event.kind, "")) or "")
    if event.kind == "progress" and isinstance(fraction := data.get("fraction"), int | float):
        text = f"{fraction:.0%} {text}".rstrip()
    time = timestamp(int(event.id.split("-")[0])) or ""
    return {"id": event.id, "time": time, "kind": event.kind, "text": text[:2000]}


def show(value: Any) -> str:
    """JSON for reading: indented, long lists of numbers and long texts cut where a reader would stop."""
    return json.dumps(_shorter(value), ensure_ascii=False, indent=2)[:SHOWN_CHARS]


def _shorter(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shorter(item) for key, item in value.items()}
    if isinstance(value, list):
        if len(value) > _LONG_LIST and all(isinstance(item, int | float) for item in value):
            first = ", ".join(f"{item:.4g}" for item in value[:4])
            return f"[{first}, … {len(value):,} numbers]"
        shown = [_shorter(item) for item in value[:50]]
        return [*shown, f"… {len(value) - 50:,} more"] if len(value) > 50 else shown
    if isinstance(value, str) and len(value) > 2000:
        return f"{value[:2000]}… ({len(value):,} characters)"
    return value


def _files(output: Any) -> list[dict[str, Any]]:
    """The files that an output refers to, at its top or one level down."""
    if not isinstance(output, dict):
        return []
    return [item for item in (output, *output.values()) if isinstance(item, dict) and "file_id" in item]
