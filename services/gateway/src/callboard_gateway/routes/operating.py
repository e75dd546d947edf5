"""What an operator asks: is it up, what do the queues hold, who works, who used what."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.desk import QUEUES_WITH_JOBS
from callboard_gateway.routes.audit import audit
from callboard_gateway.schemas import (
    Health,
    QueueList,
    QueueObject,
    Readiness,
    UsageList,
    WorkerList,
    problems,
)
from callboard_shared.errors import LedgerError, NotFound
from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import AsyncLedger, Call, QueueStats, WorkerInfo, schema, verbs
from callboard_shared.view import timestamp

router = APIRouter(tags=["operating"])
READ = [Depends(require("jobs:read"))]
DAY_MS = 86_400_000
FIGURES = ("jobs", "succeeded", "failed", "run_ms", "tokens", "characters")


@router.get("/healthz", response_model=Health, operation_id="health", summary="Is the process alive?")
async def health() -> Response:
    return JSONResponse({"status": "ok"})


@router.get(
    "/readyz", response_model=Readiness, responses=problems(503), operation_id="readiness",
    summary="Can it take jobs? With what each queue has",
)  # fmt: skip
async def readiness(request: Request) -> Response:
    """503 while the ledger is away. Queues without workers do not make it unready: their jobs wait."""
    stats = [verbs.queue_stats(queue) for queue in QUEUES]
    layout, *found = await _all(request, [schema.written(), *stats])
    said = {"status": "ready", "ledger": "ok", "version": version("callboard-gateway")}
    layouts = {"ledger_layout": layout, "newest_layout": schema.NEWEST}
    return JSONResponse({**said, **layouts, "queues": [queue_view(one) for one in found]})


@router.get(
    "/v1/queues", response_model=QueueList, responses=problems(401, 403, 429, 503), dependencies=READ,
    operation_id="list_queues", summary="The queues and what they hold",
)  # fmt: skip
async def queues(request: Request) -> Response:
    return JSONResponse({"data": await _queues(request), "next_cursor": None})


@router.post(
    "/v1/queues/{name}/{action}", response_model=QueueObject, responses=problems(401, 403, 404, 429, 503),
    dependencies=[Depends(require("admin"))], operation_id="pause_or_resume_queue", summary="Pause or resume a queue",
)  # fmt: skip
async def steer(request: Request, name: str, action: Literal["pause", "resume"]) -> Response:
    """A paused queue takes jobs and starts none; what runs goes on."""
    if name not in QUEUES:
        raise NotFound(f"There is no such queue. There are: {', '.join(QUEUES)}.")
    stats = await _ledger(request).run(verbs.pause(name) if action == "pause" else verbs.resume(name))
    if stats.ring:
        request.app.state.bell.ring_soon(name)
    await audit(request, f"queue.{action}d", name)
    return JSONResponse(queue_view(stats))


@router.get(
    "/v1/workers", response_model=WorkerList, responses=problems(401, 403, 429, 503), dependencies=READ,
    operation_id="list_workers", summary="The workers online",
)  # fmt: skip
async def workers(request: Request) -> Response:
    found = await _all(request, [verbs.workers(queue) for queue in QUEUES])
    return JSONResponse({"data": [worker_view(one) for part in found for one in part], "next_cursor": None})


@router.get(
    "/v1/usage", response_model=UsageList, response_model_exclude_none=True,
    responses=problems(401, 403, 422, 429, 503), operation_id="read_usage", summary="What this key has used",
)  # fmt: skip
async def usage(
    request: Request,
    caller: Annotated[Authenticated, Depends(require("jobs:read"))],
    by: Annotated[Literal["day", "type"], Query(description="What a row stands for.")] = "day",
    days: Annotated[int, Query(ge=1, le=90, description="How many days back, today included (UTC).")] = 30,
    key_id: Annotated[
        str | None, Query(max_length=64, description="Another key's, for an admin; a deleted key's too.")
    ] = None,
) -> Response:
    """Counted when jobs end. Days newest first; types with the most jobs first."""
    if key_id is not None and key_id != caller.owner:
        caller.require("admin")
    owner = key_id or caller.owner
    today = int(time.time() * 1000) // DAY_MS
    calls = [verbs.usage(q, owner, today - back) for back in range(days) for q in QUEUES_WITH_JOBS]
    sums: dict[str, dict[str, int]] = {}
    for rows in await _all(request, calls):
        for row in rows:
            total = sums.setdefault(row.day if by == "day" else row.type, dict.fromkeys(FIGURES, 0))
            for figure in FIGURES:
                total[figure] += row.figures.get(figure, 0)
    if by == "type":
        data = [{"type": name, **sums[name]} for name in sorted(sums, key=lambda one: -sums[one]["jobs"])]
    else:
        data = [{"day": name, **sums[name]} for name in sorted(sums, reverse=True)]
    return JSONResponse({"data": data, "next_cursor": None})


def queue_view(stats: QueueStats) -> dict[str, Any]:
    return {
        "name": stats.name,
        "ready": stats.ready,
        "running": stats.running,
        "scheduled": stats.scheduled,
        "workers": stats.workers,
        "slots": stats.slots,
        "oldest_wait_s": stats.oldest_wait_ms / 1000,
        "rate_per_s": stats.rate_per_s,
        "paused": stats.paused,
    }


def worker_view(worker: WorkerInfo) -> dict[str, Any]:
    return {
        "id": worker.id,
        "queue": worker.queue,
        "host": worker.host,
        "pid": worker.pid,
        "started_at": timestamp(worker.started_ms) if worker.started_ms else None,
        "slots": worker.slots,
        "running": worker.running,
        "models": worker.models,
        "note": worker.note or None,
        "facts": worker.facts,
    }


async def _queues(request: Request) -> list[dict[str, Any]]:
    return [
        queue_view(stats) for stats in await _all(request, [verbs.queue_stats(queue) for queue in QUEUES])
    ]


async def _all(request: Request, calls: list[Call[Any]]) -> list[Any]:
    """The answers to calls in one round trip; the first error among them is raised."""
    answers = await _ledger(request).run_many(calls)
    for answer in answers:
        if isinstance(answer, LedgerError):
            raise answer
    return answers


def _ledger(request: Request) -> AsyncLedger:
    ledger: AsyncLedger = request.app.state.ledger
    return ledger
