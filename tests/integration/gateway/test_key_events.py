"""All of a key's jobs in one stream: from now on, resumed without loss, and a word where something was lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sse_reader import ECHO, Event, Reader, key_stream, submit

from callboard_gateway.settings import GatewaySettings
from callboard_shared.errors import LedgerUnavailable

KEY = "cb_testtest_" + "k" * 43
EMBED = {"type": "nlp.embed", "input": {"texts": ["a"]}}


@pytest.fixture
def settings() -> GatewaySettings:
    return GatewaySettings(admin_key=SecretStr(KEY), sse_comment_s=0.2)


@pytest.fixture
async def web(served: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=served, headers=headers, timeout=20) as client:
        yield client


async def begun(web: httpx.AsyncClient) -> str:
    """A place from which on all is kept."""
    async with key_stream(web) as response:
        return await Reader(response).place()


async def told_since(web: httpx.AsyncClient, place: str, count: int, **params: Any) -> list[Event]:
    async with asyncio.timeout(20), key_stream(web, place, **params) as response:
        return await Reader(response).rest(count)


async def run_with_progress(worker: Any) -> None:
    (job,) = await worker.claim()
    await worker.report(job, "progress", fraction=0.5, message="half")
    await worker.report(job, "log", level="info", message="of no interest to a dashboard")
    await worker.finish(job)


async def test_what_happens_to_any_job_is_told_as_it_happens(web: httpx.AsyncClient, worker: Any) -> None:
    async with asyncio.timeout(20), key_stream(web) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        reader = Reader(response)
        await reader.place()
        job_id = await submit(web, metadata={"order": "17"})
        (queued,) = await reader.rest(1)
        about = {"id": job_id, "type": "system.echo", "queue": "system"}
        assert (queued.kind, queued.data) == ("status", {**about, "status": "queued", "attempt": 0})
        await run_with_progress(worker)
        running, progress, succeeded, done = await reader.rest(4)
        assert running.data == {**about, "status": "running", "attempt": 1}
        assert (progress.kind, progress.data) == (
            "progress", {**about, "progress": {"fraction": 0.5, "message": "half"}},
        )  # fmt: skip
        assert succeeded.data == {**about, "status": "succeeded", "attempt": 1}
        whole = (await web.get(f"/v1/jobs/{job_id}")).json()
        assert done.kind == "done"
        assert done.data == {name: value for name, value in whole.items() if name not in ("input", "output")}


async def test_jobs_of_all_queues_are_told_and_those_of_other_keys_are_not(
    web: httpx.AsyncClient, served: str, gateway: Any
) -> None:
    place = await begun(web)
    made = (await web.post("/v1/keys", json={"name": "guest", "scopes": ["jobs:read", "jobs:write"]})).json()
    bearer = {"Authorization": f"Bearer {made['key']}"}
    async with httpx.AsyncClient(base_url=served, headers=bearer, timeout=20) as guest:
        await submit(guest)
    echo, embed = await submit(web), (await web.post("/v1/jobs", json=EMBED)).json()["id"]
    events = await told_since(web, place, 2)
    assert [(event.data["id"], event.data["queue"]) for event in events] == [(echo, "system"), (embed, "nlp")]


async def test_a_canceled_and_an_expired_job_are_done_too(web: httpx.AsyncClient, worker: Any) -> None:
    place = await begun(web)
    canceled = await submit(web)
    await web.post(f"/v1/jobs/{canceled}/cancel")
    expired = await submit(web, expires_in_s=0.001)
    await asyncio.sleep(0.01)
    assert await worker.claim() == []
    events = await told_since(web, place, 6)
    ends = [(one.data["id"], one.data["status"]) for one in events if one.kind == "done"]
    assert ends == [(canceled, "canceled"), (expired, "expired")]


@pytest.mark.parametrize("seed", range(3))
async def test_a_reader_that_is_cut_anywhere_hears_all_of_it_once(
    web: httpx.AsyncClient, worker: Any, seed: int
) -> None:
    draw = random.Random(seed)
    place = await begun(web)

    async def work() -> None:
        for _ in range(12):
            await web.post("/v1/jobs:batch", json={"jobs": [ECHO, EMBED, ECHO]})
            await run_with_progress(worker)
            await run_with_progress(worker)

    working = asyncio.create_task(work())
    expected = 12 * (3 + 2 * 4)
    heard: list[Event] = []
    async with asyncio.timeout(60):
        while len(heard) < expected:
            most = min(draw.choice((1, 2, 5, 40)), expected - len(heard))
            heard += await told_since(web, heard[-1].id if heard else place, most)
    await working
    whole = await told_since(web, place, expected)
    for queue in ("system", "nlp"):  # between queues the order is that of the reading, within one it is exact
        assert [one.data for one in heard if one.data["queue"] == queue] == [
            one.data for one in whole if one.data["queue"] == queue
        ]
    statuses: dict[str, list[str]] = {}
    for event in heard:
        if event.kind == "status":
            statuses.setdefault(event.data["id"], []).append(event.data["status"])
    assert sorted(map(tuple, statuses.values())) == sorted(
        [("queued",)] * 12 + [("queued", "running", "succeeded")] * 24
    )


async def test_more_than_is_read_at_once_is_told_whole_and_in_order(
    web: httpx.AsyncClient, worker: Any
) -> None:
    place = await begun(web)
    jobs = (await web.post("/v1/jobs:batch", json={"jobs": [ECHO] * 350})).json()["data"]
    events = await told_since(web, place, 350)
    assert [event.data["id"] for event in events] == [job["id"] for job in jobs]


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"event": "done"}, ["done:system.echo"]),
        ({"event": "progress,done"}, ["progress:system.echo", "done:system.echo"]),
        ({"status": "running"}, ["status:system.echo"]),
        ({"status": "succeeded"}, ["status:system.echo", "done:system.echo"]),
        ({"type": "nlp.embed"}, ["status:nlp.embed"]),
        ({"queue": "nlp"}, ["status:nlp.embed"]),
    ],
)
async def test_a_reader_is_told_what_it_asks_for(
    web: httpx.AsyncClient, worker: Any, params: dict[str, str], told: list[str]
) -> None:
    async with asyncio.timeout(20), key_stream(web, **params) as response:
        reader = Reader(response)
        await reader.place()
        await web.post("/v1/jobs", json=EMBED)
        await submit(web)
        await run_with_progress(worker)
        events = await reader.rest(len(told))
        assert [f"{event.kind}:{event.data['type']}" for event in events] == told
        await reader.comment()


@pytest.mark.parametrize(
    ("name", "value"), [("event", "delta"), ("type", "x"), ("queue", "x"), ("status", "x")]
)
async def test_a_filter_that_there_is_not_is_named(web: httpx.AsyncClient, name: str, value: str) -> None:
    answer = await web.get("/v1/events", params={name: value})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == name


async def test_the_place_moves_on_past_what_is_filtered_out(web: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20), key_stream(web, event="done") as response:
        reader = Reader(response)
        place = await reader.place()
        await submit(web)
        while reader.last_id == place:
            assert (await reader.comment()).startswith(": still here")


async def test_who_comes_back_too_late_is_told_so(web: httpx.AsyncClient, gateway: Any) -> None:
    place = await begun(web)
    await submit(web)
    await gateway.app.state.ledger.redis.delete("cb:{system}:feed:x", "cb:{system}:feeds")  # as time does
    async with asyncio.timeout(20), key_stream(web, place) as response:
        reader = Reader(response)
        (reset,) = await reader.rest(1)
        assert (reset.kind, list(reset.data)) == ("reset", ["reason"])
        job_id = await submit(web)
        (queued,) = await reader.rest(1)
        assert queued.data["id"] == job_id
    (again,) = await told_since(web, reset.id, 1)
    assert again == queued


async def test_who_falls_behind_what_is_kept_is_told_so(web: httpx.AsyncClient, gateway: Any) -> None:
    place = await begun(web)
    await web.post("/v1/jobs:batch", json={"jobs": [ECHO] * 20})
    redis = gateway.app.state.ledger.redis
    (feed,) = await redis.keys("cb:{system}:feed:*")
    await redis.xtrim(feed, maxlen=5, approximate=False)
    assert (await told_since(web, place, 1))[0].kind == "reset"


async def test_a_feed_is_kept_only_for_a_while_and_only_if_somebody_reads_it(
    web: httpx.AsyncClient, worker: Any, gateway: Any
) -> None:
    redis = gateway.app.state.ledger.redis
    await submit(web)
    await worker.run_one()
    assert await redis.keys("*feed*") == []
    await begun(web)
    kept = await redis.keys("*:feed:*")
    assert kept
    assert all([0 < await redis.ttl(key) <= 360 for key in kept])


async def test_a_job_that_is_deleted_by_then_is_done_with_what_is_known(
    web: httpx.AsyncClient, worker: Any
) -> None:
    place = await begun(web)
    job_id = await submit(web)
    await worker.run_one()
    assert (await web.delete(f"/v1/jobs/{job_id}")).status_code == 204
    *_, done = await told_since(web, place, 4)
    about = {"id": job_id, "type": "system.echo", "queue": "system", "status": "succeeded"}
    assert (done.kind, done.data) == ("done", about)


async def test_a_ledger_that_is_away_for_a_moment_loses_nothing(
    web: httpx.AsyncClient, worker: Any, gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await begun(web)
    await submit(web)
    await worker.run_one()
    inquiries, faults = gateway.app.state.desk.inquiries, iter([LedgerUnavailable("away")])
    record = inquiries.record

    async def record_but_first(queue: str, job_id: str) -> Any:
        for fault in faults:
            raise fault
        return await record(queue, job_id)

    monkeypatch.setattr(inquiries, "record", record_but_first)
    async with asyncio.timeout(20), key_stream(web, place) as response:
        reader = Reader(response)
        assert "away" in await reader.comment()
        assert [event.kind for event in await reader.rest(4)] == ["status", "status", "status", "done"]


async def test_what_the_news_lose_is_told_a_little_later(
    web: httpx.AsyncClient, worker: Any, gateway: Any
) -> None:
    async with asyncio.timeout(20), key_stream(web) as response:
        reader = Reader(response)
        await reader.place()
        await gateway.app.state.news.stop()
        await submit(web)
        assert [event.kind for event in await reader.rest(1)] == ["status"]


async def test_the_stream_ends_when_the_server_stops(web: httpx.AsyncClient, gateway: Any) -> None:
    async with asyncio.timeout(5), key_stream(web) as response:
        reader = Reader(response)
        await reader.place()
        gateway.app.state.stopping.begin()
        assert await reader.rest() == []


@pytest.mark.parametrize(
    "event_id", ["yesterday", "system:1", "1-0", "system:1-0,", ",", "system:1-0;nlp:1-0"]
)
async def test_an_event_id_of_something_else_is_refused(web: httpx.AsyncClient, event_id: str) -> None:
    answer = await web.get("/v1/events", headers={"Last-Event-ID": event_id})
    assert answer.status_code == 422


async def test_a_key_needs_the_scope(gateway: Any) -> None:
    async with await gateway.key("jobs:write") as writer:
        assert (await writer.get("/v1/events")).status_code == 403
    async with gateway.with_key(None) as nobody:
        assert (await nobody.get("/v1/events")).status_code == 401
