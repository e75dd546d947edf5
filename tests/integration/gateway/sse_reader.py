"""A plain reader of server-sent events, for the tests of streams."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

ECHO = {"type": "system.echo", "input": {"value": 1}}


@dataclass
class Event:
    id: str
    kind: str
    data: Any


class Reader:
    """One reader of a stream. ``last_id`` is where it would resume, as a browser's EventSource keeps it."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_id: str | None = None
        self._blocks = self._split()

    async def _split(self) -> AsyncIterator[str]:
        text = ""
        async for piece in self.response.aiter_text():
            text += piece
            while "\n\n" in text:
                block, _, text = text.partition("\n\n")
                for line in block.split("\n"):
                    if line.startswith("id: "):
                        self.last_id = line.removeprefix("id: ")
                yield block

    async def comment(self) -> str:
        async for block in self._blocks:
            if block.startswith(":"):
                return block
        raise AssertionError("the stream ended")

    async def place(self) -> str:
        """Where the stream begins, or goes on: the next id that comes."""
        async for _ in self._blocks:
            if self.last_id:
                return self.last_id
        raise AssertionError("the stream ended")

    async def rest(self, most: int = 100_000) -> list[Event]:
        events: list[Event] = []
        async for block in self._blocks:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            if "event" in fields:
                events.append(Event(fields["id"], fields["event"], json.loads(fields["data"])))
                if len(events) == most:
                    break
        return events


async def submit(web: httpx.AsyncClient, **more: Any) -> str:
    job_id: str = (await web.post("/v1/jobs", json=ECHO | more)).json()["id"]
    return job_id


def stream(web: httpx.AsyncClient, job_id: str, after: str | None = None) -> Any:
    headers = {"Last-Event-ID": after} if after else {}
    return web.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers)


def key_stream(web: httpx.AsyncClient, after: str | None = None, **params: Any) -> Any:
    headers = {"Last-Event-ID": after} if after else {}
    return web.stream("GET", "/v1/events", headers=headers, params=params)
