"""Jobs after they were submitted: read, list, cancel, retry, delete."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.cursors import cursor_of, position_of
from callboard_gateway.desk import QUEUES_WITH_JOBS, Desk
from callboard_gateway.routes.parameters import REPLAYED, Cursor, IdempotencyKey, Limit, Wait, replay_header
from callboard_gateway.routes.submit import hang_up, retry_after_s
from callboard_gateway.routes.submit import idempotency_key as usable_key
from callboard_gateway.schemas import Job, JobList, problems
from callboard_shared.errors import Invalid
from callboard_shared.jobs import CATALOGUE, QUEUES
from callboard_shared.ledger import JobRecord
from callboard_shared.ledger.lookup import list_jobs
from callboard_shared.moments import read_time
from callboard_shared.states import JobStatus
from callboard_shared.view import job_view

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
ReadAccess = Annotated[Authenticated, Depends(require("jobs:read"))]
WriteAccess = Annotated[Authenticated, Depends(require("jobs:write"))]

_PARAMETERS = frozenset({"limit", "cursor", "status", "type", "queue", "created_after", "created_before"})
_VOLATILE = ("eta_s",)
"""Estimates change from moment to moment and do not make another version of the job."""


def desk_of(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def job_response(record: JobRecord, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    content = orjson.dumps(job_view(record))
    return Response(content, status, headers, media_type="application/json")


def etag(view: dict[str, Any]) -> str:
    """Weak: two answers with the same tag may differ in their estimates."""
    steady = orjson.dumps({name: value for name, value in view.items() if name not in _VOLATILE})
    return f'W/"{hashlib.blake2b(steady, digest_size=9).hexdigest()}"'


def names_tag(if_none_match: str | None, tag: str) -> bool:
    """Whether ``If-None-Match`` names this tag, by the weak comparison of RFC 9110, 8.8.3.2."""
    if if_none_match is None:
        return False
    opaque = tag.removeprefix("W/")
    return any(one.strip().removeprefix("W/") in (opaque, "*") for one in if_none_match.split(","))


@router.get(
    "",
    response_model=JobList,
    responses=problems(401, 403, 422, 429, 503),
    operation_id="list_jobs",
    summary="List jobs, newest first",
    openapi_extra={
        "parameters": [
            {
                "name": "metadata.KEY",
                "in": "query",
                "required": False,
                "description": "Jobs whose metadata has this text under KEY, such as `metadata.order=17`; may repeat.",
                "schema": {"type": "string"},
            }
        ]
    },
)
async def list_(
    request: Request,
    caller: ReadAccess,
    limit: Limit = 20,
    cursor: Cursor = None,
    status: Annotated[list[str] | None, Query(description="One or more, also separated by commas.")] = None,
    type: Annotated[list[str] | None, Query(description="One or more job types.")] = None,
    queue: Annotated[list[str] | None, Query(description="One or more queues.")] = None,
    created_after: Annotated[str | None, Query(description="RFC 3339; this moment excluded.")] = None,
    created_before: Annotated[str | None, Query(description="RFC 3339; this moment excluded.")] = None,
) -> Response:
    """The key's jobs. A filter that matches few may give a short page with a `next_cursor`: go on from there."""
    statuses = choices("status", status, [one.value for one in JobStatus])
    types = choices("type", type, CATALOGUE.names)
    queues = choices("queue", queue, list(QUEUES))
    metadata = _metadata_filter(request)
    after, before = _moment("created_after", created_after), _moment("created_before", created_before)

    def keep(record: JobRecord) -> bool:
        return (
            (not statuses or record.status in statuses)
            and (not types or record.type in types)
            and (not metadata or _has_metadata(record, metadata))
        )

    places = [one for one in QUEUES_WITH_JOBS if not queues or one in queues]
    if types:
        served = {job_type.queue for job_type in CATALOGUE if job_type.name in types}
        places = [one for one in places if one in served]
    records, following = await list_jobs(
        desk_of(request).ledger,
        places,
        caller.owner,
        limit=limit + 1,
        before=position_of(cursor, "job"),
        created_after_ms=None if after is None else after + 1,
        created_before_ms=None if before is None else before - 1,
        keep=keep,
    )
    if len(records) > limit:
        records = records[:limit]
        following = (records[-1].created_ms, records[-1].id)
    content = {
        "data": [job_view(record) for record in records],
        "next_cursor": cursor_of(following),
    }
    return Response(orjson.dumps(content), media_type="application/json")


@router.get(
    "/{job_id}",
    response_model=Job,
    responses={
        304: {"description": "The job is the one that `If-None-Match` names."},
        **problems(401, 403, 404, 422, 429, 503),
    },
    operation_id="get_job",
    summary="Read a job, or wait for it",
)
async def get(
    request: Request,
    job_id: str,
    caller: ReadAccess,
    wait: Wait = 0,
    if_none_match: Annotated[str | None, Header(description="An `ETag` seen before.")] = None,
) -> Response:
    desk = desk_of(request)
    if wait:
        record = await desk.wait(caller.owner, job_id, wait, hang_up(request.receive))
    else:
        record = await desk.find(caller.owner, job_id)
    view = job_view(record)
    headers = {"ETag": etag(view), "Cache-Control": "private, no-cache"}
    if not record.status.is_terminal:
        headers["Retry-After"] = str(retry_after_s(record))
    if names_tag(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(orjson.dumps(view), headers=headers, media_type="application/json")


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    response_model=Job,
    responses={
        200: {"model": Job, "description": "It waited, and is `canceled`."},
        202: {"description": "It runs; it is `canceling` and ends soon."},
        **problems(401, 403, 404, 409, 429, 503),
    },
    operation_id="cancel_job",
    summary="Cancel a job",
)
async def cancel(request: Request, job_id: str, caller: WriteAccess) -> Response:
    record, ended = await desk_of(request).cancel(caller.owner, job_id)
    return job_response(record, 200 if ended else 202)


@router.post(
    "/{job_id}/retry",
    status_code=202,
    response_model=Job,
    responses={
        200: {"model": Job, "description": "A repeated request: the job that the first one made has ended."},
        202: {"description": "The new job.", "headers": REPLAYED},
        **problems(401, 403, 404, 409, 422, 429, 503),
    },
    operation_id="retry_job",
    summary="Submit an ended job again, as a new one",
)
async def retry(
    request: Request, job_id: str, caller: WriteAccess, idempotency_key: IdempotencyKey = None
) -> Response:
    """The new job has the same input and options, and `retried_from`."""
    record, replayed = await desk_of(request).retry(caller.owner, job_id, usable_key(request.scope))
    headers = {"Location": f"/v1/jobs/{record.id}"} | replay_header(replayed)
    ended = record.status.is_terminal
    if not ended:
        headers["Retry-After"] = str(retry_after_s(record))
    return job_response(record, 200 if ended and replayed else 202, headers)


@router.delete(
    "/{job_id}",
    status_code=204,
    responses=problems(401, 403, 404, 409, 429, 503),
    operation_id="delete_job",
    summary="Remove an ended job and its files",
)
async def delete(request: Request, job_id: str, caller: WriteAccess) -> Response:
    await desk_of(request).delete(caller.owner, job_id)
    return Response(status_code=204)


def choices(field: str, given: list[str] | None, known: list[str]) -> frozenset[str]:
    """The values of a repeatable parameter; 422 for one that there is not."""
    values = [part for one in given or () for part in one.split(",") if part]
    for value in values:
        if value not in known:
            raise invalid_parameter(
                field, f"there is no {field} '{value[:100]}'; there are: {', '.join(known)}"
            )
    return frozenset(values)


def _metadata_filter(request: Request) -> dict[str, str]:
    """``metadata.KEY=text`` of the query; 422 for a parameter that the list does not know."""
    wanted: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name.startswith("metadata.") and len(name) > len("metadata."):
            wanted[name.removeprefix("metadata.")] = value
        elif name not in _PARAMETERS:
            raise invalid_parameter(
                name[:100], f"is no parameter; there are: {', '.join(sorted(_PARAMETERS))}, metadata.KEY"
            )
    return wanted


def _has_metadata(record: JobRecord, wanted: dict[str, str]) -> bool:
    if b'"metadata":' not in record.spec:
        return False
    metadata = orjson.loads(record.spec).get("metadata") or {}
    return all(metadata.get(name) == value for name, value in wanted.items())


def _moment(field: str, text: str | None) -> int | None:
    """Milliseconds since the epoch."""
    if text is None:
        return None
    try:
        moment = read_time(text.replace(" ", "+") if "T" in text else text)  # an unescaped +09:00
    except ValueError as error:
        raise invalid_parameter(field, str(error)) from None
    return int(moment.timestamp() * 1000)


def invalid_parameter(field: str, message: str) -> Invalid:
    return Invalid(f"{field}: {message}.", errors=[{"field": field, "message": message, "code": "parameter"}])
