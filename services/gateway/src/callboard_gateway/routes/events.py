"""``GET /v1/jobs/{id}/events``: a job's events as server-sent events, from the start or from where one was.

Event ids are the ledger's; the last one, ``done``, has the id of the event before it and ``.done``.
(https://html.spec.whatwg.org/multipage/server-sent-events.html)
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Header, Request, Response
from starlette.responses import StreamingResponse

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.desk import Desk
from callboard_gateway.schemas import problems
from callboard_shared.errors import Invalid, LedgerError
from callboard_shared.ledger import Event, JobRecord, verbs
from callboard_shared.ledger.news import Bulletin
from callboard_shared.states import TERMINAL, JobStatus
from callboard_shared.view import job_view

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

PAGE = 500
RETRY = b"retry: 2000\n\n"
_START = "0-0"
"""Before the first event of a stream; also the id of the event that says how the job was accepted."""
_EVENT_ID = re.compile(r"(\d{1,20}-\d{1,20})(\.done)?")
_EXAMPLE = """\
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


@router.get(
    "/{job_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`status`, `progress`, `log`, `delta`, and last `done` with the job; then it closes.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        204: {
            "description": "`Last-Event-ID` names the last event: there is nothing more. Do not reconnect."
        },
        **problems(401, 403, 404, 422, 429, 503),
    },
    operation_id="stream_job_events",
    summary="A job's events as they happen",
)
async def stream(
    request: Request,
    job_id: str,
    caller: Annotated[Authenticated, Depends(require("jobs:read"))],
    last_event_id: Annotated[str | None, Header(description="Go on after this event.")] = None,
) -> Response:
    """A stream that is opened late tells everything from the start. A comment comes every 15 seconds."""
    after: str | None = None
    over = False
    if last_event_id:
        found = _EVENT_ID.fullmatch(last_event_id)
        if found is None:
            raise Invalid(
                "Last-Event-ID is none of this stream's.",
                errors=[
                    {
                        "field": "Last-Event-ID",
                        "message": "give the id of an event as it was",
                        "code": "header",
                    }
                ],
            )
        after, over = found[1], found[2] is not None
    desk: Desk = request.app.state.desk
    record = await desk.find(caller.owner, job_id)
    if over:
        return Response(status_code=204)
    events = Stream(desk, record, after, request.app.state.settings.sse_comment_s)
    headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
    return StreamingResponse(events.run(), headers=headers, media_type="text/event-stream")


class Stream:
    """One reader of one job's events, from the start or after the event with this id."""

    def __init__(self, desk: Desk, record: JobRecord, after: str | None, comment_s: float) -> None:
        self._desk, self._record, self._comment_s = desk, record, comment_s
        self._after, self._from_start = after or _START, after is None
        self._over = False

    async def run(self) -> AsyncGenerator[bytes]:
        """As server-sent events."""
        yield RETRY
        async with aclosing(self.batches()) as batches:
            async for batch in batches:
                yield batch if isinstance(batch, bytes) else b"".join(frame(*event) for event in batch)

    async def batches(self) -> AsyncGenerator[list[tuple[str, str, bytes]] | bytes]:
        """Id, kind and data (JSON) of the events, as they come; or a comment, ready to be sent, when none came."""
        if self._from_start:
            first = orjson.dumps({"status": self._first_status(), "attempt": 0})
            yield [(_START, "status", first)]
        async with self._desk.news.expect(self._record.id) as bulletin:
            watching = False
            while not self._over and not self._desk.stopping.begun:
                try:
                    if not watching:
                        watching = await self._watch()
                    events = await self._new()
                except LedgerError:
                    yield b": the ledger is away; this goes on when it is back\n\n"
                    watching = False
                    await self._pause(bulletin, 1)
                    continue
                if events:
                    yield events
                elif not self._over and not await self._pause(bulletin, self._comment_s):
                    yield b": still here\n\n"

    def _first_status(self) -> str:
        """As what the job was accepted; the ledger's stream begins with what happened next."""
        spec = orjson.loads(self._record.spec)
        if spec.get("after"):
            return JobStatus.BLOCKED.value
        scheduled = self._record.status is JobStatus.SCHEDULED and self._record.attempt == 0
        return (JobStatus.SCHEDULED if scheduled else JobStatus.QUEUED).value

    async def _watch(self) -> bool:
        known = await self._desk.ledger.run(
            verbs.watch(self._record.id, self._record.queue, self._desk.news.name)
        )
        self._over = not known  # deleted, or past its retention
        return True

    async def _new(self) -> list[tuple[str, str, bytes]]:
        """What is new; with ``done`` at the end if that is the end."""
        events = await self._more()
        if not events and not self._over:
            record = await self._read()
            if record is None or not record.status.is_terminal:
                self._over = record is None
                return []
            events = await self._more()  # what ended it came between the two questions
            if not events:
                return [self._done(record)]
        told = []
        for event in events:
            told.append((event.id, event.kind, event.data))
            self._after = event.id
            if event.kind == "status" and orjson.loads(event.data).get("status") in TERMINAL:
                record = await self._read()
                self._over = True
                if record is not None:
                    told.append(self._done(record))
                break
        return told

    def _done(self, record: JobRecord) -> tuple[str, str, bytes]:
        self._over = True
        return f"{self._after}.done", "done", orjson.dumps(job_view(record))

    async def _more(self) -> list[Event]:
        return await self._desk.ledger.run(
            verbs.events(self._record.id, self._record.queue, self._after, PAGE)
        )

    async def _read(self) -> JobRecord | None:
        (record,) = await self._desk.ledger.run(verbs.read(self._record.queue, [self._record.id]))
        return record

    async def _pause(self, bulletin: Bulletin, seconds: float) -> bool:
        """Wait for news; False when there were none. Ends at once when the server stops."""
        with suppress(TimeoutError):
            async with self._desk.stopping.within(seconds):
                return await bulletin.wait(seconds + 1)
        await asyncio.sleep(0)
        return self._desk.stopping.begun


def frame(event_id: str, kind: str, data: bytes) -> bytes:
    """One event; ``data`` is JSON in one line."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event_id.encode(), kind.encode(), data.replace(b"\n", b" "))
