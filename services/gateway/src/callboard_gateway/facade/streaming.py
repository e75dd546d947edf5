"""A chat's answer as OpenAI streams it: server-sent events with a piece of the answer each, and ``[DONE]``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from callboard_gateway.desk import Desk
from callboard_gateway.event_streams import STILL_HERE, EventStreamResponse
from callboard_gateway.facade.running import (
    JobProblem,
    cancel,
    output_of,
    problem_of,
    submitted,
)
from callboard_gateway.job_stream import JobStream
from callboard_gateway.routes.submit import hang_up
from callboard_shared.ledger import JobRecord, NewJob
from callboard_shared.openai.errors import Names, error_body
from callboard_shared.states import JobStatus

_OVER = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Chunks:
    """Makes the chunks of one answer. ``usage``: whether the last one says what was used."""

    job_id: str
    model: str
    usage: bool
    created: int = field(default_factory=lambda: int(time.time()))

    def first(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def said(self, text: str) -> bytes:
        return self._chunk({"content": text})

    def ended(self, output: dict[str, Any]) -> bytes:
        """What follows the text: calls of tools, why it ends, what was used, and the end itself."""
        frames = []
        if calls := output["message"].get("tool_calls"):
            frames.append(
                self._chunk({"tool_calls": [{"index": at, **call} for at, call in enumerate(calls)]})
            )
        frames.append(self._chunk({}, output["finish_reason"]))
        if self.usage:
            frames.append(self._frame(choices=[], usage=output.get("usage")))
        return b"".join((*frames, _OVER))

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._frame(choices=[choice], **({"usage": None} if self.usage else {}))

    def _frame(self, **fields: Any) -> bytes:
        head = {"id": f"chatcmpl-{self.job_id}", "object": "chat.completion.chunk"}
        body = {**head, "created": self.created, "model": self.model, **fields}
        return b"data: %b\n\n" % orjson.dumps(body)


async def answer_by_chunks(request: Request, job: NewJob, chunks: Chunks, names: Names) -> Response:
    """Answers when the model begins to speak, so that what fails before that is an error with its own status."""
    frames = _frames(request, await submitted(request, job, names), chunks)
    first = await _before_hang_up(request, frames)

    async def whole() -> AsyncGenerator[bytes]:
        async with aclosing(frames):
            yield first
            async for frame in frames:
                yield frame

    response = EventStreamResponse(whole(), request.app.state.settings.sse_patience_s)
    response.headers["callboard-job-id"] = job.id
    return response


async def _before_hang_up(request: Request, frames: AsyncGenerator[bytes]) -> bytes:
    """The first frame. Raises ClientDisconnect if nobody waits for it any more."""
    speaking = asyncio.ensure_future(anext(frames))
    leaving = asyncio.ensure_future(hang_up(request.receive)())
    try:
        await asyncio.wait((speaking, leaving), return_when=asyncio.FIRST_COMPLETED)
        if speaking.done():
            return speaking.result()
        raise ClientDisconnect
    finally:
        leaving.cancel()
        if not speaking.done():
            speaking.cancel()
            await asyncio.wait((speaking,))


async def _frames(request: Request, record: JobRecord, chunks: Chunks) -> AsyncGenerator[bytes]:
    """Raises JobProblem if the job fails before anything was said. Whoever closes this cancels the job."""
    desk: Desk = request.app.state.desk
    comment_s = request.app.state.settings.sse_comment_s
    began = over = False
    try:
        async with aclosing(JobStream(desk, record, None, comment_s).batches()) as batches:
            async for batch in batches:
                if isinstance(batch, bytes):
                    if began:
                        yield STILL_HERE
                    continue
                text = "".join(orjson.loads(data)["text"] for _, kind, data in batch if kind == "delta")
                if text:
                    yield chunks.said(text) if began else chunks.first() + chunks.said(text)
                    began = True
                over = batch[-1][1] == "done"
        ended = await desk.find(record.owner, record.id)
        over = over or ended.status.is_terminal
        if ended.status is JobStatus.SUCCEEDED:
            output = await output_of(request, ended)
            yield chunks.ended(output) if began else chunks.first() + chunks.ended(output)
        elif not began:
            raise JobProblem.of(ended)
        else:
            yield b"data: %b\n\n" % orjson.dumps(error_body({"status": 500, **problem_of(ended)}))
    finally:
        if not over:
            leaving = asyncio.create_task(cancel(desk, record))
            _LEAVING.add(leaving)
            leaving.add_done_callback(_LEAVING.discard)


_LEAVING: set[asyncio.Task[None]] = set()
"""Cancels under way: their stream is closed, and cannot wait for them."""
