"""A call of OpenAI's API as a job: submitted, waited for, and canceled when its caller hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
from fastapi import Request
from starlette.requests import ClientDisconnect

from callboard_gateway.auth import Authenticated
from callboard_gateway.desk import Desk
from callboard_gateway.routes.submit import hang_up
from callboard_gateway.tracing import sending, sent
from callboard_shared.errors import CallboardError, Conflict, Invalid, LedgerUnavailable, NotFound
from callboard_shared.files import AsyncFiles
from callboard_shared.jobs import JobType
from callboard_shared.ledger import JobRecord, NewJob
from callboard_shared.openai.errors import Names, renamed
from callboard_shared.states import JobStatus

PATIENCE_S = 600
"""A job that has not started by then expires: OpenAI's libraries wait ten minutes."""


class JobProblem(CallboardError):
    """A job that did not succeed, as an answer; its members are the job's problem, said again."""

    @classmethod
    def of(cls, record: JobRecord) -> JobProblem:
        problem = problem_of(record)
        return cls(str(problem.get("detail", "")), members=problem)


def read_job(
    request: Request,
    caller: Authenticated,
    job_type: JobType[Any, Any],
    value: Mapping[str, Any],
    names: Names,
    **options: Any,
) -> NewJob:
    """The job that this call asks for. Raises Invalid with OpenAI's names of the fields."""
    desk: Desk = request.app.state.desk
    document = {"type": job_type.name, "input": dict(value), "expires_in_s": PATIENCE_S, **options}
    try:
        return desk.reader.read(document, caller.owner, sending(request.scope))
    except Invalid as error:
        raise renamed(error, names) from None


async def submitted(request: Request, job: NewJob, names: Names) -> JobRecord:
    """Accepts the job. Raises what a submission raises, in OpenAI's names."""
    desk: Desk = request.app.state.desk
    try:
        record = await desk.submit(job)
        sent(request.scope, [job])
        return record
    except Invalid as error:
        raise renamed(error, names) from None


async def finished(request: Request, job: NewJob, names: Names) -> JobRecord:
    """The job when it has succeeded. Raises JobProblem when it has not, and ClientDisconnect when nobody waits."""
    desk: Desk = request.app.state.desk
    gone = asyncio.Event()

    async def left() -> None:
        await hang_up(request.receive)()
        gone.set()

    async with desk.news.expect(job.id) as bulletin:
        record = await submitted(request, replace(job, watcher=desk.news.name), names)
        limit_s = PATIENCE_S + job.timeout_ms / 1000 * job.max_attempts
        record = await desk.until(record, bulletin, limit_s, left)
    if not record.status.is_terminal:
        await cancel(desk, record)
        if gone.is_set():
            raise ClientDisconnect
        raise LedgerUnavailable("This server stops; try again.", retry_after_s=1)
    if record.status is not JobStatus.SUCCEEDED:
        raise JobProblem.of(record)
    return record


async def cancel(desk: Desk, record: JobRecord) -> None:
    """Nobody waits for the job any more."""
    with suppress(NotFound, Conflict):  # it has just ended
        await desk.cancel(record.owner, record.id)


def problem_of(record: JobRecord) -> dict[str, Any]:
    """Why a job did not succeed."""
    if record.error and record.status is JobStatus.FAILED:
        problem: dict[str, Any] = orjson.loads(record.error)
        return problem
    if record.status is JobStatus.EXPIRED:
        detail = f"No worker had time for it within {PATIENCE_S} s. Try again later, or start more workers."
        return {"code": "expired", "status": 503, "retryable": True, "detail": detail}
    return {"code": "canceled", "status": 409, "retryable": False, "detail": "The job was canceled."}


async def output_of(request: Request, record: JobRecord) -> dict[str, Any]:
    """A succeeded job's output, also where it is so large that it became a file."""
    output: dict[str, Any] = orjson.loads(record.output or b"{}")
    if output.keys() == {"file_id", "media_type", "bytes", "sha256", "url"}:
        files: AsyncFiles = request.app.state.files
        output = orjson.loads(b"".join([piece async for piece in files.read(output["file_id"])]))
    return output
