"""Jobs after they were submitted: read, wait, list, cancel, retry, delete."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from callboard_shared.ids import new_id
from callboard_shared.ledger.lookup import find_job

ECHO = {"type": "system.echo", "input": {"value": 1}}


async def submit(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await client.post("/v1/jobs", json=ECHO | more)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def test_a_long_poll_answers_when_the_job_ends(
    client: httpx.AsyncClient, worker: Any, gateway: Any
) -> None:
    job = await submit(client)
    waiting = asyncio.create_task(client.get(f"/v1/jobs/{job['id']}?wait=30"))
    async with asyncio.timeout(10):
        while not gateway.app.state.news.watched:
            await asyncio.sleep(0.01)
        await worker.run_one()
        answer = await waiting
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.json()["usage"].keys() >= {"run_ms", "queue_ms"}


async def test_a_long_poll_gives_up_after_its_time(client: httpx.AsyncClient) -> None:
    job = await submit(client)
    answer = await client.get(f"/v1/jobs/{job['id']}?wait=1")
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")


@pytest.mark.parametrize("wait", ["-1", "61", "x", "1.5"])
async def test_a_wait_is_a_whole_number_up_to_sixty(client: httpx.AsyncClient, wait: str) -> None:
    job = await submit(client)
    problem = (await client.get(f"/v1/jobs/{job['id']}?wait={wait}")).json()
    assert (problem["status"], problem["errors"][0]["field"]) == (422, "wait")


async def test_an_unchanged_job_is_304(client: httpx.AsyncClient, worker: Any) -> None:
    job = await submit(client)
    first = await client.get(f"/v1/jobs/{job['id']}")
    tag = {"If-None-Match": first.headers["etag"]}
    again = await client.get(f"/v1/jobs/{job['id']}", headers=tag)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    await worker.run_one()
    assert (await client.get(f"/v1/jobs/{job['id']}", headers=tag)).status_code == 200


async def test_the_list_is_newest_first_and_goes_on_by_cursor(client: httpx.AsyncClient) -> None:
    ids = [(await submit(client))["id"] for _ in range(5)]
    ids += [
        one["id"] for one in (await client.post("/v1/jobs:batch", json={"jobs": [ECHO] * 4})).json()["data"]
    ]
    seen: list[str] = []
    cursor = None
    while True:
        page = (
            await client.get("/v1/jobs", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        ).json()
        seen += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == 9
    assert seen == sorted(ids, reverse=True)


async def test_the_list_is_filtered(client: httpx.AsyncClient, worker: Any) -> None:
    await submit(client, metadata={"order": "17", "who": "me"})
    await worker.run_one()
    await submit(client, metadata={"order": "18"})
    embed = (await client.post("/v1/jobs", json={"type": "nlp.embed", "input": {"texts": ["a"]}})).json()

    async def found(**params: Any) -> int:
        answer = await client.get(
            "/v1/jobs", params={key.replace("__", "."): value for key, value in params.items()}
        )
        assert answer.status_code == 200, answer.text
        return len(answer.json()["data"])

    assert await found() == 3
    assert await found(status="succeeded") == 1
    assert await found(status="succeeded,queued") == 3
    assert await found(status=["succeeded", "failed"]) == 1
    assert await found(type="nlp.embed") == 1
    assert await found(queue="system") == 2
    assert await found(queue="vision") == 0
    assert await found(metadata__order="17") == 1
    assert await found(metadata__order="17", metadata__who="you") == 0
    assert await found(created_after=embed["created_at"]) == 0
    # Times are milliseconds: the second echo may well have been submitted in the same one as the embedding.
    listed = (await client.get("/v1/jobs")).json()["data"]
    earlier = [job for job in listed if job["created_at"] < embed["created_at"]]
    assert earlier
    assert await found(created_before=embed["created_at"]) == len(earlier)
    assert await found(created_after="2020-01-01T00:00:00+09:00", created_before="2099-01-01T00:00:00Z") == 3


@pytest.mark.parametrize(
    "query",
    ["status=done", "type=nope", "queue=nope", "limit=0", "limit=101", "cursor=x", "created_after=x", "stauts=queued",
     "created_after=2026-01-01", "metadata.=x"],
)  # fmt: skip
async def test_a_filter_that_means_nothing_is_refused(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/jobs?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "validation")
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


async def test_a_waiting_job_is_canceled_at_once(client: httpx.AsyncClient) -> None:
    job = await submit(client)
    answer = await client.post(job["links"]["cancel"])
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    again = await client.post(job["links"]["cancel"])
    assert (again.status_code, again.json()["status"]) == (409, 409)
    assert "canceled" in again.json()["detail"]


async def test_a_running_job_is_asked_to_stop(client: httpx.AsyncClient, worker: Any) -> None:
    job = await submit(client)
    (claimed,) = await worker.claim()
    answer = await client.post(job["links"]["cancel"])
    assert (answer.status_code, answer.json()["status"]) == (202, "canceling")
    await worker.finish(claimed, "canceled")
    assert (await client.get(job["links"]["self"])).json()["status"] == "canceled"


async def test_an_ended_job_is_retried_as_a_new_one(client: httpx.AsyncClient, worker: Any) -> None:
    old = await submit(client, metadata={"order": "17"}, priority=4, max_attempts=1)
    unfinished = await client.post(f"/v1/jobs/{old['id']}/retry")
    assert unfinished.status_code == 409
    await client.post(old["links"]["cancel"])
    answer = await client.post(f"/v1/jobs/{old['id']}/retry")
    new = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == new["links"]["self"]
    assert new["id"] != old["id"]
    assert new["retried_from"] == old["id"]
    for same in ("type", "input", "metadata", "priority", "max_attempts"):
        assert new[same] == old[same]
    await worker.run_one()
    assert (await client.get(new["links"]["self"])).json()["status"] == "succeeded"


async def test_a_retry_under_an_idempotency_key_makes_one_job(client: httpx.AsyncClient, worker: Any) -> None:
    old, other = await submit(client), await submit(client)
    for one in (old, other):
        await client.post(one["links"]["cancel"])
    key = {"Idempotency-Key": "again-17"}
    first = await client.post(f"/v1/jobs/{old['id']}/retry", headers=key)
    assert first.status_code == 202 and "idempotency-replayed" not in first.headers
    second = await client.post(f"/v1/jobs/{old['id']}/retry", headers=key)
    assert (second.status_code, second.headers["idempotency-replayed"]) == (202, "true")
    assert second.json()["id"] == first.json()["id"] and second.headers["retry-after"]
    elsewhere = await client.post(f"/v1/jobs/{other['id']}/retry", headers=key)
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (422, "idempotency-mismatch")
    unusable = await client.post(f"/v1/jobs/{old['id']}/retry", headers={"Idempotency-Key": "a b"})
    assert (unusable.status_code, unusable.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    await worker.run_one()
    third = await client.post(f"/v1/jobs/{old['id']}/retry", headers=key)
    assert (third.status_code, third.json()["status"]) == (200, "succeeded")
    assert third.json()["retried_from"] == old["id"]
    assert await worker.claim() == [], "one job was made, and no other"


async def test_a_retry_that_was_cut_off_before_its_job_was_made_makes_it(
    gateway: Any, client: httpx.AsyncClient
) -> None:
    old = await submit(client)
    await client.post(old["links"]["cancel"])
    reserved = new_id("job")
    desk = gateway.app.state.desk
    record = await find_job(desk.ledger, ["system"], old["id"])
    assert record is not None
    await desk.reserve(record.owner, "k", f"retry {old['id']}".encode(), reserved)
    answer = await client.post(f"/v1/jobs/{old['id']}/retry", headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["id"]) == (202, reserved)
    assert answer.headers["idempotency-replayed"] == "true"


async def test_retries_at_the_same_moment_with_one_idempotency_key_make_one_job(
    client: httpx.AsyncClient, worker: Any
) -> None:
    old = await submit(client)
    await client.post(old["links"]["cancel"])
    key = {"Idempotency-Key": "k"}
    answers = await asyncio.gather(
        *(client.post(f"/v1/jobs/{old['id']}/retry", headers=key) for _ in range(5))
    )
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(await worker.claim()) == 1 and await worker.claim() == []


async def test_an_ended_job_can_be_deleted_and_an_unfinished_one_not(client: httpx.AsyncClient) -> None:
    job = await submit(client)
    assert (await client.delete(job["links"]["self"])).status_code == 409
    await client.post(job["links"]["cancel"])
    assert (await client.delete(job["links"]["self"])).status_code == 204
    assert (await client.get(job["links"]["self"])).status_code == 404
    assert (await client.get("/v1/jobs")).json()["data"] == []


@pytest.mark.parametrize(
    "job_id", ["job_x", "job_01m82k33kretkv5g41ez9s8tdg", "file_01m82k33kretkv5g41ez9s8tdg", "%00"]
)
async def test_a_job_that_there_is_not_is_404(client: httpx.AsyncClient, job_id: str) -> None:
    for method, rest in [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("GET", "/events"),
    ]:
        answer = await client.request(method, f"/v1/jobs/{job_id}{rest}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_another_keys_job_is_not_there(gateway: Any, client: httpx.AsyncClient) -> None:
    job = await submit(client)
    async with await gateway.key("jobs:read", "jobs:write", "admin") as other:
        for method, rest in [
            ("GET", ""), ("GET", "?wait=1"), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry"), ("GET", "/events"),
        ]:  # fmt: skip
            answer = await other.request(method, f"/v1/jobs/{job['id']}{rest}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
        assert (await other.get("/v1/jobs")).json()["data"] == []
    assert (await client.get(job["links"]["self"])).json()["status"] == "queued"
