"""``python -m bench.receiver PORT``: a receiver of webhooks that costs little, and says when they came.

``POST /live`` is answered 204 at once, ``POST /dead`` never. ``GET /`` gives ``{"count", "first", "last", "ms"}``: how many
came, when (``time.perf_counter``), and how long each event was under way; and forgets them.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from datetime import datetime
from typing import cast

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_EVENT_AT = re.compile(rb'"timestamp":"([^"]+)"')


class Received:
    def __init__(self) -> None:
        self.times: list[float] = []
        self.took_ms: list[float] = []

    def figures(self) -> bytes:
        times, took, self.times, self.took_ms = self.times, self.took_ms, [], []
        first, last = (times[0], times[-1]) if times else (None, None)
        return json.dumps({"count": len(times), "first": first, "last": last, "ms": took}).encode()


class Posts(asyncio.Protocol):
    def __init__(self, received: Received) -> None:
        self._received, self._buffer = received, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            figures = self._received.figures()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(figures), figures)
            )
        elif head.startswith(b"POST /live"):
            self._received.times.append(time.perf_counter())
            if at := _EVENT_AT.search(body):
                event_s = datetime.fromisoformat(at[1].decode()).timestamp()
                self._received.took_ms.append((time.time() - event_s) * 1000)
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def main(port: int) -> None:
    received = Received()
    server = await asyncio.get_running_loop().create_server(lambda: Posts(received), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
