"""Refusing a body that is still arriving, so that the caller can read why.

Closing a connection that holds unread bytes resets it, and the reset may overtake the answer. So the answer goes
out at once, and a bounded part of what still comes is read and dropped before the connection closes (as
nginx's ``lingering_close`` does).
"""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

LINGER_S = 5
LINGER_BYTES = 16 * 1024 * 1024


class LingeringResponse(Response):
    """``response``, followed by reading on for a while; meant for 413."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.body, response.status_code)
        self.raw_headers = response.raw_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body), "more_body": True})
        try:
            async with asyncio.timeout(LINGER_S):
                await _drop(receive)
        except TimeoutError:
            pass  # it had its time; now the connection closes
        await send({"type": "http.response.body", "body": b""})


async def _drop(receive: Receive) -> None:
    dropped = 0
    while dropped < LINGER_BYTES:
        message = await receive()
        dropped += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return
