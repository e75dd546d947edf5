"""Server-sent events as an answer: how a frame looks, how a stream ends, and what becomes of a reader that is too slow.

(https://html.spec.whatwg.org/multipage/server-sent-events.html)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

log = structlog.get_logger(__name__)

RETRY = b"retry: 2000\n\n"
AWAY = b": the ledger is away; this goes on when it is back\n\n"
STILL_HERE = b": still here\n\n"
CHECK_S = 10
ABORT = "callboard.abort"
"""The ASGI extension by which the server lets a response drop its connection (see ``serving``)."""


class OpenStreams:
    """How many streams this process sends."""

    count = 0


OPEN = OpenStreams()


def frame(event_id: str, kind: str, data: bytes) -> bytes:
    """One event; ``data`` is JSON in one line."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event_id.encode(), kind.encode(), data.replace(b"\n", b" "))


class EventStreamResponse(Response):
    """Sends frames as they come until there are no more, or the reader goes away.

    A frame is made only when the one before it was taken, so no more is kept for a reader than one frame and what
    the connection itself buffers (64 KiB). One that takes nothing for ``patience_s`` seconds is dropped: it comes back
    with ``Last-Event-ID`` when it can. ``allowed`` is asked every CHECK_S seconds whether the stream may go on: a key
    that was deleted is told nothing more.
    """

    def __init__(
        self,
        frames: AsyncGenerator[bytes],
        patience_s: float,
        allowed: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
        super().__init__(None, headers=headers, media_type="text/event-stream")
        del self.headers["content-length"]
        self._frames, self._patience_s, self._allowed = frames, patience_s, allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        OPEN.count += 1
        try:
            await self._stream(scope, receive, send)
        finally:
            OPEN.count -= 1

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as deadline, aclosing(self._frames):
                leaving = asyncio.ensure_future(_left(receive))
                leaving.add_done_callback(
                    lambda task: (
                        None if task.cancelled() or deadline.expired() else deadline.reschedule(loop.time())
                    )
                )
                try:
                    taken = await self._send_all(send)
                finally:
                    leaving.cancel()
        except TimeoutError:
            if not deadline.expired():
                raise
            return
        if not taken:
            log.info("stream.dropped", reason="the reader is too slow", path=scope["path"])
            await _drop(scope, receive)

    async def _send_all(self, send: Send) -> bool:
        """False if the reader does not take them."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        loop = asyncio.get_running_loop()
        check_at = loop.time() + CHECK_S
        async for chunk in self._frames:
            if self._allowed is not None and loop.time() > check_at:
                if not await self._allowed():
                    break
                check_at = loop.time() + CHECK_S
            try:
                async with asyncio.timeout(self._patience_s):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except TimeoutError:
                return False
        await send({"type": "http.response.body", "body": b""})
        return True


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _drop(scope: Scope, receive: Receive) -> None:
    """Close the connection without sending what is buffered for it; where the server cannot, it is closed politely."""
    abort = scope.get("extensions", {}).get(ABORT)
    if abort is not None:
        abort["call"]()
        await _left(receive)
