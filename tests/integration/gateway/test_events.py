"""The event stream: from the start, as it happens, resumed without loss, and over after ``done``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from callboard_gateway.settings import GatewaySettings

KEY = "cb_testtest_" + "k" * 43
ECHO = {"type": "system.echo", "input": {"value": 1}}


@dataclass
class Event:
    id: str
    kind: str
    data: Any


@pytest.fixture
def settings() -> GatewaySettings:
    return GatewaySettings(admin_key=SecretStr(KEY), sse_comment_s=0.2)


@pytest.fixture
async def web(served: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=served, headers=headers, timeout=20) as client:
        yield client


class Reader:
    """One reader of a stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.comments = 0
        self._blocks = self._split()

    async def _split(self) -> AsyncIterator[str]:
        text = ""
        async for piece in self.response.aiter_text():
            text += piece
            while "\n\n" in text:
                block, _, text = text.partition("\n\n")
                yield block

    async def comment(self) -> str:
        async for block in self._blocks:
            if block.startswith(":"):
                return block
        raise AssertionError("the stream ended")

    async def rest(self, most: int = 1000) -> list[Event]:
        events: list[Event] = []
        async for block in self._blocks:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            if "event" in fields:
                events.append(Event(fields["id"], fields["event"], json.loads(fields["data"])))
                if len(events) == most:
                    break
        return events


async def submit(web: httpx.AsyncClient) -> str:
    job_id: str = (await web.post("/v1/jobs", json=ECHO)).json()["id"]
    return job_id


def stream(web: httpx.AsyncClient, job_id: str, after: str | None = None) -> Any:
    headers = {"Last-Event-ID": after} if after else {}
    return web.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers)


async def run_with_events(worker: Any) -> None:
    (job,) = await worker.claim()
    await worker.report(job, "progress", fraction=0.5, message="half")
    await worker.report(job, "log", level="info", message="hello")
    for word in ("a ", "b"):
        await worker.report(job, "delta", text=word)
    await worker.finish(job)


KINDS = ["status", "status", "progress", "log", "delta", "delta", "status", "done"]


async def test_events_come_as_they_happen(web: httpx.AsyncClient, worker: Any) -> None:
    job_id = await submit(web)
    async with asyncio.timeout(20), stream(web, job_id) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "no-cache" in response.headers["cache-control"]
        reader = Reader(response)
        (accepted,) = await reader.rest(1)
        assert (accepted.kind, accepted.data) == ("status", {"status": "queued", "attempt": 0})
        (job,) = await worker.claim()
        (first,) = await reader.rest(1)
        assert (first.kind, first.data) == ("status", {"status": "running", "attempt": 1})
        await worker.report(job, "progress", fraction=0.25)
        (second,) = await reader.rest(1)
        assert (second.kind, second.data) == ("progress", {"fraction": 0.25})
        await worker.finish(job)
        *_, status, done = await reader.rest()
    assert status.data["status"] == "succeeded"
    assert (done.kind, done.id) == ("done", f"{status.id}.done")
    assert done.data == (await web.get(f"/v1/jobs/{job_id}")).json()


async def test_a_stream_that_is_opened_late_tells_everything(web: httpx.AsyncClient, worker: Any) -> None:
    job_id = await submit(web)
    await run_with_events(worker)
    async with asyncio.timeout(20), stream(web, job_id) as response:
        events = await Reader(response).rest()
    assert [event.kind for event in events] == KINDS
    assert "".join(event.data["text"] for event in events if event.kind == "delta") == "a b"


async def test_a_stream_goes_on_after_any_event_without_loss(web: httpx.AsyncClient, worker: Any) -> None:
    job_id = await submit(web)
    await run_with_events(worker)
    async with stream(web, job_id) as response:
        whole = await Reader(response).rest()
    for index in range(len(whole) - 1):
        async with asyncio.timeout(20), stream(web, job_id, whole[index].id) as response:
            rest = await Reader(response).rest()
        assert [event.id for event in rest] == [event.id for event in whole[index + 1 :]]
    async with stream(web, job_id, whole[-1].id) as response:
        assert response.status_code == 204


async def test_a_quiet_stream_is_kept_open_by_comments(web: httpx.AsyncClient, worker: Any) -> None:
    job_id = await submit(web)
    async with asyncio.timeout(20), stream(web, job_id) as response:
        reader = Reader(response)
        assert await reader.comment() == ": still here"
        await worker.run_one()
        assert [event.kind for event in await reader.rest()] == ["status", "status", "done"]


async def test_a_canceled_job_ends_its_stream(web: httpx.AsyncClient) -> None:
    job_id = await submit(web)
    async with asyncio.timeout(20), stream(web, job_id) as response:
        reader = Reader(response)
        await reader.comment()
        await web.post(f"/v1/jobs/{job_id}/cancel")
        events = await reader.rest()
    assert [event.kind for event in events] == ["status", "done"]
    assert events[-1].data["status"] == "canceled"


async def test_a_stream_ends_when_the_server_stops(web: httpx.AsyncClient, gateway: Any) -> None:
    job_id = await submit(web)
    async with asyncio.timeout(5), stream(web, job_id) as response:
        reader = Reader(response)
        await reader.comment()
        gateway.app.state.stopping.begin()
        assert await reader.rest() == []


async def test_nothing_is_left_behind_by_a_reader_that_goes_away(
    web: httpx.AsyncClient, gateway: Any
) -> None:
    job_id = await submit(web)
    async with stream(web, job_id) as response:
        await Reader(response).comment()
        assert gateway.app.state.news.watched == 1
    async with asyncio.timeout(5):
        while gateway.app.state.news.watched:
            await asyncio.sleep(0.01)


async def test_a_waiter_that_hangs_up_is_forgotten(web: httpx.AsyncClient, gateway: Any) -> None:
    job_id = await submit(web)
    waiting = asyncio.create_task(web.get(f"/v1/jobs/{job_id}?wait=60"))
    async with asyncio.timeout(5):
        while not gateway.app.state.news.watched:
            await asyncio.sleep(0.01)
        waiting.cancel()
        while gateway.app.state.news.watched:
            await asyncio.sleep(0.01)


async def test_an_event_id_of_something_else_is_refused(web: httpx.AsyncClient) -> None:
    job_id = await submit(web)
    async with stream(web, job_id, "yesterday") as response:
        assert response.status_code == 422
