"""The event stream: from the start, as it happens, resumed without loss, and over after ``done``."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr
from sse_reader import Event, Reader, stream, submit

from callboard_gateway import event_streams
from callboard_gateway.settings import GatewaySettings
from callboard_shared.errors import LedgerUnavailable

KEY = "cb_testtest_" + "k" * 43


@pytest.fixture
def settings() -> GatewaySettings:
    return GatewaySettings(admin_key=SecretStr(KEY), sse_comment_s=0.2, sse_patience_s=0.5)


@pytest.fixture
async def web(served: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=served, headers=headers, timeout=20) as client:
        yield client


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


@pytest.mark.parametrize("event_id", ["99999999999999999999-0", "1-99999999999999999999", "1-1.done.done"])
async def test_an_event_id_that_no_ledger_gives_is_refused(web: httpx.AsyncClient, event_id: str) -> None:
    assert (await web.get("/v1/jobs/job_1/events", headers={"Last-Event-ID": event_id})).status_code == 422


async def report_many(worker: Any, count: int) -> None:
    (job,) = await worker.claim()
    for n in range(count):
        await worker.report(job, "delta", text=f"{n} ")
    await worker.finish(job)


@pytest.mark.parametrize("seed", range(3))
async def test_a_reader_that_is_cut_anywhere_while_a_job_runs_hears_all_of_it_once(
    web: httpx.AsyncClient, worker: Any, seed: int
) -> None:
    draw = random.Random(seed)
    job_id = await submit(web)
    running = asyncio.create_task(report_many(worker, 250))
    heard: list[Event] = []
    async with asyncio.timeout(30):
        while not heard or heard[-1].kind != "done":
            async with stream(web, job_id, heard[-1].id if heard else None) as response:
                heard += await Reader(response).rest(draw.choice((1, 2, 7, 101)))
    await running
    async with stream(web, job_id) as response:
        whole = await Reader(response).rest()
    assert heard == whole
    assert "".join(one.data["text"] for one in whole if one.kind == "delta").split() == [
        str(n) for n in range(250)
    ]


async def test_a_ledger_that_is_away_between_two_questions_loses_no_event(
    web: httpx.AsyncClient, worker: Any, gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await submit(web)
    await run_with_events(worker)
    inquiries, faults = gateway.app.state.desk.inquiries, iter([LedgerUnavailable("away")])
    record = inquiries.record

    async def record_but_first(queue: str, job_id: str) -> Any:
        for fault in faults:
            raise fault
        return await record(queue, job_id)

    monkeypatch.setattr(inquiries, "record", record_but_first)
    async with asyncio.timeout(20), stream(web, job_id) as response:
        reader = Reader(response)
        assert "away" in await reader.comment()
        events = await reader.rest()
    assert ["status", *(event.kind for event in events)] == KINDS


async def test_an_end_of_which_the_news_are_lost_is_told_all_the_same(
    web: httpx.AsyncClient, worker: Any, gateway: Any
) -> None:
    job_id = await submit(web)
    async with asyncio.timeout(20), stream(web, job_id) as response:
        reader = Reader(response)
        await reader.comment()
        await gateway.app.state.news.stop()
        await worker.run_one()
        events = await reader.rest()
    assert [event.kind for event in events] == ["status", "status", "done"]


async def test_a_job_that_is_deleted_meanwhile_ends_its_streams(
    web: httpx.AsyncClient, worker: Any, gateway: Any
) -> None:
    job_id = await submit(web)
    (job,) = await worker.claim()
    async with asyncio.timeout(20), stream(web, job_id) as response:
        reader = Reader(response)
        await reader.comment()
        await gateway.app.state.ledger.redis.delete(
            f"cb:{{system}}:job:{job.id}", f"cb:{{system}}:events:{job.id}"
        )
        assert [event.kind for event in await reader.rest()] in ([], ["status"])
    async with stream(web, job_id) as response:
        assert response.status_code == 404


async def test_a_key_that_is_deleted_is_told_nothing_more(
    served: str, web: httpx.AsyncClient, gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "CHECK_S", 0.1)
    made = (await web.post("/v1/keys", json={"name": "guest", "scopes": ["jobs:read", "jobs:write"]})).json()
    bearer = {"Authorization": f"Bearer {made['key']}"}
    async with httpx.AsyncClient(base_url=served, headers=bearer, timeout=20) as guest:
        job_id = await submit(guest)
        async with asyncio.timeout(20), stream(guest, job_id) as response:
            reader = Reader(response)
            await reader.comment()
            assert (await web.delete(f"/v1/keys/{made['id']}")).status_code == 204
            assert await reader.rest() == []
        assert (await guest.get(f"/v1/jobs/{job_id}/events")).status_code == 401


async def test_a_reader_that_takes_nothing_is_dropped_and_may_come_back(
    web: httpx.AsyncClient, served: str, worker: Any, gateway: Any, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = await submit(web)
    (job,) = await worker.claim()
    for _ in range(300):
        await worker.report(job, "log", level="info", message="x" * 50_000)  # 15 MB: more than sockets hold
    with slow_reader(served, job_id) as stuck:
        async with asyncio.timeout(10):
            while not gateway.app.state.news.watched:
                await asyncio.sleep(0.01)
            while gateway.app.state.news.watched:
                await asyncio.sleep(0.01)
        assert await asyncio.to_thread(read_all, stuck) < 300 * 50_000, "it was let go before it had all"
    await worker.finish(job)
    assert "ASGI" not in caplog.text
    async with asyncio.timeout(20), stream(web, job_id) as response:
        events = await Reader(response).rest()
    assert [event.kind for event in events] == ["status", "status", *["log"] * 300, "status", "done"]


def read_all(stuck: socket.socket) -> int:
    """Bytes until the connection ends, however it ends."""
    count = 0
    with contextlib.suppress(ConnectionResetError):
        while piece := stuck.recv(1_000_000):
            count += len(piece)
    return count


def slow_reader(served: str, job_id: str) -> socket.socket:
    """A connection that asks for a stream and reads nothing."""
    address = urlsplit(served)
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.connect((address.hostname, address.port))
    lines = [f"GET /v1/jobs/{job_id}/events HTTP/1.1", "Host: x", f"Authorization: Bearer {KEY}"]
    stuck.sendall("\r\n".join([*lines, "", ""]).encode())
    return stuck
