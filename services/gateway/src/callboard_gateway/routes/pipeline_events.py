"""``GET /v1/pipelines/{id}/events``: what happens to the steps of a pipeline, as one stream of server-sent events.

An event's id says for each step how far its own events have been told, so that a reader goes on anywhere without loss
and the gateway keeps nothing: ``-`` nothing yet, the ledger's id of the last one, or ``*`` all of them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Request, Response

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.event_streams import AWAY, RETRY, STILL_HERE, frame
from callboard_gateway.pipeline_desk import Pipeline, PipelineDesk
from callboard_gateway.routes.events import event_stream
from callboard_gateway.schemas import problems
from callboard_shared.errors import Invalid, LedgerError, NotFound
from callboard_shared.ledger import Call, Event, pipelining, verbs
from callboard_shared.ledger.following import PAGE
from callboard_shared.ledger.news import Bulletin
from callboard_shared.states import TERMINAL

router = APIRouter(prefix="/v1/pipelines", tags=["pipelines"])

_START = "0-0"
_POSITION = re.compile(r"-|\*|\d{1,20}-\d{1,20}")
_EXAMPLE = """\
id: -,-
event: status
data: {"status":"queued"}

id: 1763803800000-0,-
event: status
data: {"step":"say","status":"running","attempt":1}

id: 1763803800012-0,-
event: delta
data: {"step":"say","text":"At nine"}

id: *,*.done
event: done
data: {"id":"pipe_…","status":"succeeded","output":{"voice":{}}}

"""


@router.get(
    "/{pipeline_id}/events",
    response_class=Response,
    responses={
        200: {
            "description": "Each step's `status`, `progress`, `log` and `delta` with `step`, its name; last `done` "
            "with the pipeline; then it closes.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        204: {
            "description": "`Last-Event-ID` names the last event: there is nothing more. Do not reconnect."
        },
        **problems(401, 403, 404, 422, 429, 503),
    },
    operation_id="stream_pipeline_events",
    summary="What happens to a pipeline's steps, as it happens",
)
async def stream(
    request: Request,
    pipeline_id: str,
    caller: Annotated[Authenticated, Depends(require("jobs:read"))],
    last_event_id: Annotated[str | None, Header(description="Go on after this event.")] = None,
) -> Response:
    """A stream that is opened late tells everything from the start. A comment comes every 15 seconds."""
    desk: PipelineDesk = request.app.state.pipelines
    pipeline = await desk.find(caller.owner, pipeline_id)
    told, done = _told(last_event_id, len(pipeline.record.steps))
    if done:
        return Response(status_code=204)
    events = _Stream(desk, pipeline, told, request.app.state.settings.sse_comment_s)
    return event_stream(request, events.run())


def _told(last_event_id: str | None, steps: int) -> tuple[list[str] | None, bool]:
    """How far each step was told, None at the start; and whether that was all. Raises Invalid."""
    if not last_event_id:
        return None, False
    positions = last_event_id.removesuffix(".done").split(",")
    if len(positions) != steps or not all(map(_POSITION.fullmatch, positions)):
        fault = {"field": "Last-Event-ID", "message": "give the id of an event as it was", "code": "header"}
        raise Invalid("Last-Event-ID is none of this stream's.", errors=[fault])
    return positions, last_event_id.endswith(".done")


class _Stream:
    """One reader of one pipeline's events."""

    def __init__(
        self, desk: PipelineDesk, pipeline: Pipeline, told: list[str] | None, comment_s: float
    ) -> None:
        self._desk, self._pipeline, self._comment_s = desk, pipeline, comment_s
        self._ledger, self._stopping = desk.desk.ledger, desk.desk.stopping
        self._steps = pipeline.record.steps
        self._from_start = told is None
        self._told = told or ["-"] * len(self._steps)
        self._over = False

    async def run(self) -> AsyncGenerator[bytes]:
        yield RETRY
        if self._from_start:
            yield frame(self._id, "status", orjson.dumps({"status": "queued"}))
        async with AsyncExitStack() as stack:
            ids = [self._pipeline.record.id, *(step.job_id for step in self._steps)]
            news = [await stack.enter_async_context(self._desk.desk.news.expect(one)) for one in ids]
            watching = False
            while not self._over and not self._stopping.begun:
                try:
                    watching = watching or await self._watch()
                    frames = await self._new()
                except LedgerError:
                    yield AWAY
                    watching = False
                    await self._pause(news, 1)
                    continue
                if frames:
                    yield b"".join(frames)
                elif not self._over and not await self._pause(news, self._comment_s if watching else 1):
                    yield STILL_HERE

    @property
    def _id(self) -> str:
        return ",".join(self._told)

    async def _watch(self) -> bool:
        """Whether all of them are there to be watched: it may be that some are yet to be submitted."""
        name = self._desk.desk.news.name
        calls: list[Call[Any]] = [pipelining.watch(self._pipeline.record.id, name)]
        calls += [verbs.watch(step.job_id, step.queue, name) for step in self._steps]
        return all(await self._all(calls))

    async def _new(self) -> list[bytes]:
        """What is new; with ``done`` if that is the end."""
        frames = await self._more()
        if frames:
            return frames
        try:
            pipeline = await self._desk.find(self._pipeline.record.owner, self._pipeline.record.id)
        except NotFound:
            self._over = True
            return []
        if not pipeline.ended:
            return []
        frames = await self._more()  # what came between the two questions
        if not frames:
            self._over = True
            frames = [frame(f"{self._id}.done", "done", orjson.dumps(pipeline.view()))]
        return frames

    async def _more(self) -> list[bytes]:
        """The next events of all steps, in the order in which they happened."""
        open_ = [index for index, told in enumerate(self._told) if told != "*"]
        calls = [
            verbs.events(self._steps[index].job_id, self._steps[index].queue, self._after(index), PAGE)
            for index in open_
        ]
        found = await self._all(calls)
        rows = [
            (_moment(event), index, event)
            for index, events in zip(open_, found, strict=True)
            for event in events
        ]
        return [self._frame(index, event) for _, index, event in sorted(rows, key=lambda row: row[:2])]

    def _after(self, index: int) -> str:
        return _START if self._told[index] == "-" else self._told[index]

    def _frame(self, index: int, event: Event) -> bytes:
        data = orjson.loads(event.data)
        over = event.kind == "status" and data.get("status") in TERMINAL
        self._told[index] = "*" if over else event.id
        return frame(self._id, event.kind, orjson.dumps({"step": self._steps[index].name, **data}))

    async def _all(self, calls: Sequence[Call[Any]]) -> list[Any]:
        answers = await self._ledger.run_many(calls) if calls else []
        for answer in answers:
            if isinstance(answer, LedgerError):
                raise answer
        return answers

    async def _pause(self, news: Sequence[Bulletin], seconds: float) -> bool:
        """Wait for news of any; False when there were none. Ends at once when the server stops."""
        waits = [asyncio.ensure_future(one.wait(seconds + 1)) for one in news]
        try:
            with suppress(TimeoutError):
                async with self._stopping.within(seconds):
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    return True
            return self._stopping.begun
        finally:
            for wait in waits:
                wait.cancel()


def _moment(event: Event) -> tuple[int, int]:
    ms, _, sequence = event.id.partition("-")
    return int(ms), int(sequence)
