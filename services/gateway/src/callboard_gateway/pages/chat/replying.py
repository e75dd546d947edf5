"""A reply while it is written, as HTML over server-sent events: what htmx's SSE extension swaps into the page.

Each stream begins with all that was said so far, so that a reload, a second tab and a broken connection go on where
the reply is. ``done`` brings the reply as the history has it, and ends the stream.
(https://htmx.org/extensions/sse)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from html import escape

import orjson
from fastapi import APIRouter, Request, Response

from callboard_gateway.desk import Desk
from callboard_gateway.event_streams import RETRY, EventStreamResponse
from callboard_gateway.job_stream import JobStream
from callboard_gateway.pages.chat import talk as talks
from callboard_gateway.pages.chat.faults import Fault
from callboard_gateway.pages.chat.markdown import LiveMarkdown
from callboard_gateway.pages.language import language_of, translator
from callboard_gateway.pages.render import rendered
from callboard_gateway.routes.conversations import find
from callboard_gateway.sessions import Session, find_session
from callboard_shared.errors import LedgerError, NotFound
from callboard_shared.ledger import JobRecord
from callboard_shared.states import JobStatus
from callboard_shared.view import waiting_for

router = APIRouter()

PACE_S = 0.08
"""Between two looks at what was said: a reader needs no more, however fast the model is."""
_LATEST_TURNS = 6


@router.get("/chat/{conversation_id}/replies/{job_id}")
async def reply_stream(request: Request, conversation_id: str, job_id: str) -> Response:
    """Answers with a stream whatever happens: that is what the page listens to."""
    patience_s = request.app.state.settings.sse_patience_s
    return EventStreamResponse(_stream(request, conversation_id, job_id), patience_s)


async def _stream(request: Request, conversation_id: str, job_id: str) -> AsyncGenerator[bytes]:
    yield RETRY
    with suppress(LedgerError):  # it is away: the browser asks again
        session = await find_session(request)
        if session is None or not session.key.allows("jobs:read"):
            over = {"fault": Fault("chat_session_over"), "gone": None}
            yield sse("done", rendered(request, "chat/_over.html", None, over))
            return
        async with aclosing(_written(request, session, job_id)) as frames:
            async for frame in frames:
                yield frame
        if not request.app.state.stopping.begun:  # else the browser finds the next server
            yield sse("done", await _end(request, session, conversation_id, job_id))


async def _written(request: Request, session: Session, job_id: str) -> AsyncGenerator[bytes]:
    """What is said until the job ends; nothing where it has, or is past its retention: then the history tells."""
    desk: Desk = request.app.state.desk
    with suppress(NotFound):
        record = await desk.find(session.owner, job_id)
        if record.status.is_terminal:
            return
        reply = _Reply(request, job_id)
        yield reply.waits(record)
        stream = JobStream(desk, record, None, request.app.state.settings.sse_comment_s)
        async with aclosing(stream.batches()) as batches:
            async for batch in batches:
                yield batch if isinstance(batch, bytes) else reply.told(batch)
                await asyncio.sleep(0 if reply.over else PACE_S)


class _Reply:
    """What the page shows of a reply, from the events of its job."""

    def __init__(self, request: Request, job_id: str) -> None:
        self._job_id = job_id
        self._t = translator(language_of(request))
        self._labels = talks.labels_of(self._t)
        self._live = LiveMarkdown(self._labels)
        self._anew = True
        self._state = ""
        self.over = False

    def waits(self, record: JobRecord) -> bytes:
        """How a job stands before it has said anything."""
        queued = record.status is JobStatus.QUEUED
        if queued and not record.workers:
            self._state = self._t("chat_no_worker")
        elif queued and record.position:
            self._state = self._t("chat_in_line", n=record.position)
        else:
            self._state = waiting_for(record) or self._t("chat_waiting")
        return self._frame()

    def told(self, batch: list[tuple[str, str, bytes]]) -> bytes:
        for _, kind, data in batch:
            value = orjson.loads(data)
            if kind == "delta":
                self._live.add(value["text"])
                self._state = ""
            elif kind == "progress" and value.get("message"):
                self._state = str(value["message"])
            elif kind == "status":
                self._changed(JobStatus(value["status"]))
            elif kind == "done":
                self.over = True
        return b"" if self.over else self._frame()

    def _changed(self, status: JobStatus) -> None:
        if status is JobStatus.RUNNING:  # an attempt begins: what an earlier one said counts no more
            self._live, self._anew = LiveMarkdown(self._labels), True
            self._state = self._t("chat_waiting")
        elif status is JobStatus.CANCELING:
            self._state = self._t("chat_stopping")
        elif status is JobStatus.SCHEDULED:
            self._state = self._t("chat_tried_again")

    def _frame(self) -> bytes:
        finished, tail = self._live.take()
        how = "innerHTML" if self._anew else "beforeend"
        parts = [self._swap("innerHTML", "tail", tail), self._swap("innerHTML", "state", escape(self._state))]
        if finished or self._anew:
            parts.append(self._swap(how, "said", finished))
        self._anew = False
        return sse("reply", "".join(parts))

    def _swap(self, how: str, place: str, html: str) -> str:
        return f'<div hx-swap-oob="{how}:#{place}-{self._job_id}">{html}</div>'


async def _end(request: Request, session: Session, conversation_id: str, job_id: str) -> str:
    """The reply as the history has it, in place of the one that was being written; or why there is none."""
    try:
        talk = await find(request, session.owner, conversation_id)
        latest = await talks.excerpt(request, session.owner, conversation_id, -_LATEST_TURNS)
    except NotFound:
        return rendered(request, "chat/_over.html", session, {"fault": Fault("chat_gone"), "gone": job_id})
    turns = [turn for turn in latest.turns if turn.job_id == job_id]
    turn = turns[-1] if turns else None
    voice = await talks.voice_of(request, turn)
    context = latest.context(request, talk) | {"turn": turn, "job_id": job_id, "voice": voice}
    return rendered(request, "chat/_end.html", session, context)


def sse(kind: str, html: str) -> bytes:
    """One event; a line of data for each line of HTML."""
    lines = "".join(f"data: {line}\n" for line in html.replace("\r", "").split("\n"))
    return f"event: {kind}\n{lines}\n".encode()
