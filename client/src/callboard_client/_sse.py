"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), read from bytes.

httpx's own line reader also breaks at U+2028 and other characters that may stand inside an event's JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from callboard_client._models import Event

LINE_END = re.compile(rb"\r\n|\n|\r")


class EventReader:
    """Takes the bytes of one stream as they come; ``last_id`` is where to resume."""

    def __init__(self, last_id: str | None = None) -> None:
        self.last_id = last_id
        self.restart()

    def restart(self) -> None:
        """A new connection begins: drop what the broken one left half read."""
        self._rest = b""
        self._kind = "message"
        self._data: list[bytes] = []
        self._id = self.last_id

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that are complete with ``chunk``."""
        buffer = self._rest + chunk
        # A carriage return at the very end may be half of \r\n: leave it for the next chunk.
        held = b"\r" if buffer.endswith(b"\r") else b""
        *lines, rest = LINE_END.split(buffer[: len(buffer) - len(held)])
        self._rest = rest + held
        for line in lines:
            event = self._line(line)
            if event is not None:
                yield event

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._kind = value.decode()
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode()
        return None  # a comment keeps the connection awake; other fields are not ours

    def _dispatch(self) -> Event | None:
        data, kind = b"\n".join(self._data), self._kind
        self._kind, self._data = "message", []
        self.last_id = self._id  # only now: an event that broke off has to come again
        if not data:
            return None
        return Event(id=self.last_id or "", kind=kind, data=json.loads(data))
