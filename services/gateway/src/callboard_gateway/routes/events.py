"""Events as they happen: ``GET /v1/jobs/{id}/events`` of one job, ``GET /v1/events`` of all jobs of a key."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from callboard_gateway.auth import Authenticated, KeyRing, require
from callboard_gateway.desk import QUEUES_WITH_JOBS, Desk
from callboard_gateway.event_streams import EventStreamResponse
from callboard_gateway.job_stream import JobStream
from callboard_gateway.key_stream import Filter, KeyStream, places_of
from callboard_gateway.routes.jobs import choices
from callboard_gateway.schemas import problems
from callboard_shared.errors import Invalid, LedgerError, RequestError
from callboard_shared.jobs import CATALOGUE
from callboard_shared.states import JobStatus

router = APIRouter(prefix="/v1", tags=["jobs"])
ReadAccess = Annotated[Authenticated, Depends(require("jobs:read"))]
LastEventId = Annotated[str | None, Header(description="Go on after this event.", max_length=2000)]

KINDS = ["status", "progress", "done"]
_EVENT_ID = re.compile(r"(\d{1,18}-\d{1,18})(\.done)?")
_JOB_EXAMPLE = """\
id: 0-0
event: status
data: {"status":"queued","attempt":0}

id: 1763803800000-0
event: status
data: {"status":"running","attempt":1}

id: 1763803800012-0
event: status
data: {"status":"succeeded","attempt":1}

id: 1763803800012-0.done
event: done
data: {"id":"job_…","status":"succeeded","output":{"value":1}}

"""
_KEY_EXAMPLE = """\
id: nlp:1763803800000-0,system:1763803800000-0

id: nlp:1763803800000-0,system:1763803801012-0
event: status
data: {"id":"job_…","type":"system.echo","queue":"system","status":"running","attempt":1}

id: nlp:1763803800000-0,system:1763803801012-1
event: progress
data: {"id":"job_…","type":"system.echo","queue":"system","progress":{"fraction":0.5}}

id: nlp:1763803800000-0,system:1763803801013-1
event: done
data: {"id":"job_…","type":"system.echo","queue":"system","status":"succeeded","metadata":{}}

"""


def _stream_of(example: str, description: str) -> dict[str, Any]:
    content = {"text/event-stream": {"schema": {"type": "string"}, "example": example}}
    return {"description": description, "content": content}


@router.get(
    "/jobs/{job_id}/events",
    response_class=Response,
    responses={
        200: _stream_of(
            _JOB_EXAMPLE,
            "`status`, `progress`, `log`, `delta`, and last `done` with the job; then it closes.",
        ),
        204: {
            "description": "`Last-Event-ID` names the last event: there is nothing more. Do not reconnect."
        },
        **problems(401, 403, 404, 422, 429, 503),
    },
    operation_id="stream_job_events",
    summary="A job's events as they happen",
)
async def job_events(
    request: Request, job_id: str, caller: ReadAccess, last_event_id: LastEventId = None
) -> Response:
    """A stream that is opened late tells everything from the start. A comment comes every 15 seconds."""
    after: str | None = None
    over = False
    if last_event_id:
        found = _EVENT_ID.fullmatch(last_event_id)
        if found is None:
            raise _not_ours()
        after, over = found[1], found[2] is not None
    desk: Desk = request.app.state.desk
    record = await desk.find(caller.owner, job_id)
    if over:
        return Response(status_code=204)
    return event_stream(
        request, JobStream(desk, record, after, request.app.state.settings.sse_comment_s).frames()
    )


@router.get(
    "/events",
    response_class=Response,
    responses={
        200: _stream_of(
            _KEY_EXAMPLE,
            "`status`, `progress` and `done` of all the key's jobs, each with the job's `id`, `type` and `queue`; "
            "`done` has the job without input and output. `reset`: what happened since `Last-Event-ID` is not all kept "
            "any more; list the jobs anew. It does not end.",
        ),
        **problems(401, 403, 422, 429, 503),
    },
    operation_id="stream_events",
    summary="What happens to all your jobs, as it happens",
)
async def key_events(
    request: Request,
    caller: ReadAccess,
    event: Annotated[
        list[str] | None, Query(description="`status`, `progress`, `done`; by default all.")
    ] = None,
    type: Annotated[list[str] | None, Query(description="One or more job types.")] = None,
    queue: Annotated[list[str] | None, Query(description="One or more queues.")] = None,
    status: Annotated[
        list[str] | None, Query(description="Only `status` and `done` with one of these statuses.")
    ] = None,
    last_event_id: LastEventId = None,
) -> Response:
    """From now on, or after `Last-Event-ID`: who comes back within five minutes misses nothing and hears nothing twice.
    A comment comes every 15 seconds."""
    wanted = Filter(
        choices("event", event, KINDS),
        choices("type", type, CATALOGUE.names),
        choices("status", status, [one.value for one in JobStatus]),
    )
    asked = choices("queue", queue, list(QUEUES_WITH_JOBS))
    served = {one.queue for one in CATALOGUE if one.name in wanted.types or not wanted.types}
    queues = [one for one in QUEUES_WITH_JOBS if one in served and (not asked or one in asked)]
    places = places_of(last_event_id) if last_event_id else None
    if last_event_id and places is None:
        raise _not_ours()
    settings = request.app.state.settings
    stream = KeyStream(request.app.state.desk, caller.owner, queues, places, wanted, settings.sse_comment_s)
    return event_stream(request, stream.frames())


def event_stream(request: Request, frames: AsyncGenerator[bytes]) -> EventStreamResponse:
    keyring: KeyRing = request.app.state.keyring

    async def allowed() -> bool:
        try:
            await keyring.identify(request.scope, "jobs:read")
        except LedgerError:
            return True  # it is away: who was let in stays
        except RequestError:
            return False
        return True

    return EventStreamResponse(frames, request.app.state.settings.sse_patience_s, allowed)


def _not_ours() -> Invalid:
    return Invalid(
        "Last-Event-ID is none of this stream's.",
        errors=[{"field": "Last-Event-ID", "message": "give the id of an event as it was", "code": "header"}],
    )
