"""Keys as an admin keeps them: changed, rotated, limited, and each act in the audit log."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from callboard_shared.ledger import verbs

ECHO = {"type": "system.echo", "input": {"value": 1}}


async def made(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/keys", json={"name": "shop", **fields})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_key_says_when_it_was_last_used(gateway: Any, client: httpx.AsyncClient) -> None:
    key = await made(client)
    assert key["last_used_at"] is None
    async with gateway.with_key(key["key"]) as other:
        await other.get("/v1/jobs")
    (found,) = [one for one in (await client.get("/v1/keys")).json()["data"] if one["id"] == key["id"]]
    assert found["last_used_at"] >= found["created_at"]
    assert (await client.get(f"/v1/keys/{key['id']}")).json()["last_used_at"] == found["last_used_at"]


async def test_what_is_changed_holds_at_once_and_the_rest_stays(
    gateway: Any, client: httpx.AsyncClient
) -> None:
    key = await made(client)
    async with gateway.with_key(key["key"]) as other:
        assert (await other.post("/v1/jobs", json=ECHO)).status_code == 202
        answer = await client.patch(f"/v1/keys/{key['id']}", json={"scopes": ["jobs:read"], "name": "till"})
        assert (answer.json()["name"], answer.json()["scopes"]) == ("till", ["jobs:read"])
        assert answer.json()["prefix"] == key["prefix"]
        assert (await other.post("/v1/jobs", json=ECHO)).status_code == 403
        assert (await other.get("/v1/jobs")).json()["data"], "its jobs are still its own"


async def test_a_rotated_key_has_two_secrets_for_a_while(gateway: Any, client: httpx.AsyncClient) -> None:
    key = await made(client)
    new = (await client.post(f"/v1/keys/{key['id']}/rotate", json={"grace_s": 3600})).json()
    assert (new["id"], new["key"] == key["key"], new["prefix"] in new["key"]) == (key["id"], False, True)
    for secret in (key["key"], new["key"]):
        async with gateway.with_key(secret) as other:
            assert (await other.get("/v1/jobs")).status_code == 200
    last = (await client.post(f"/v1/keys/{key['id']}/rotate", json={"grace_s": 0})).json()
    for secret, status in ((key["key"], 401), (new["key"], 401), (last["key"], 200)):
        async with gateway.with_key(secret) as other:
            assert (await other.get("/v1/jobs")).status_code == status


async def test_a_rotation_needs_no_body_and_a_deleted_key_has_no_secret_left(
    gateway: Any, client: httpx.AsyncClient
) -> None:
    key = await made(client)
    new = (await client.post(f"/v1/keys/{key['id']}/rotate")).json()
    assert (await client.delete(f"/v1/keys/{key['id']}")).status_code == 204
    for secret in (key["key"], new["key"]):
        async with gateway.with_key(secret) as other:
            assert (await other.get("/v1/jobs")).status_code == 401
    assert (await client.post(f"/v1/keys/{key['id']}/rotate")).status_code == 404
    assert (await client.patch(f"/v1/keys/{key['id']}", json={"name": "x"})).status_code == 404


async def test_the_key_of_the_settings_is_changed_there(client: httpx.AsyncClient) -> None:
    (admin,) = (await client.get("/v1/keys")).json()["data"]
    for answer in (
        await client.patch(f"/v1/keys/{admin['id']}", json={"name": "x"}),
        await client.post(f"/v1/keys/{admin['id']}/rotate"),
    ):
        assert answer.status_code == 409 and "CALLBOARD_ADMIN_KEY" in answer.json()["detail"]


@pytest.mark.parametrize(
    "limits",
    [
        {"requests_per_s": 0}, {"burst": 0}, {"running": -1}, {"waiting": "many"}, {"daily": {"nlp.embedd": 1}},
        {"daily": {"tokens": 0}}, {"speed": 3}, None, [],
    ],
)  # fmt: skip
async def test_limits_that_make_no_sense_are_refused(client: httpx.AsyncClient, limits: Any) -> None:
    answer = await client.post("/v1/keys", json={"name": "x", "limits": limits})
    assert answer.status_code == 422
    assert all(error["field"].startswith("limits") for error in answer.json()["errors"])


async def test_a_keys_own_rate_holds_in_place_of_the_usual_one(
    gateway: Any, client: httpx.AsyncClient
) -> None:
    key = await made(client, limits={"requests_per_s": 0.01, "burst": 2})
    assert (await client.get(f"/v1/keys/{key['id']}")).json()["limits"]["burst"] == 2
    async with gateway.with_key(key["key"]) as other:
        answers = [await other.get("/v1/jobs") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"requests";q=2;w=200'
    assert answers[2].json()["code"] == "rate-limited" and float(answers[2].headers["retry-after"]) > 0


async def test_a_keys_running_jobs_are_capped_and_more_wait(
    gateway: Any, client: httpx.AsyncClient, worker: Any
) -> None:
    key = await made(client, limits={"running": 1})
    async with gateway.with_key(key["key"]) as other:
        jobs = [(await other.post("/v1/jobs", json=ECHO)).json()["id"] for _ in range(2)]
        (first,) = await worker.claim(5)
        assert await worker.claim(5) == []
        states = [(await other.get(f"/v1/jobs/{job}")).json()["status"] for job in jobs]
        assert states == ["running", "queued"]
        await client.patch(f"/v1/keys/{key['id']}", json={"limits": {}})
        (second,) = await worker.claim(5)
        assert [first.id, second.id] == jobs


async def test_more_waiting_jobs_than_a_key_may_have_are_refused(
    gateway: Any, client: httpx.AsyncClient
) -> None:
    key = await made(client, limits={"waiting": 1})
    async with gateway.with_key(key["key"]) as other:
        answers = [await other.post("/v1/jobs", json=ECHO) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 429]
    assert answers[1].json()["code"] == "queue-full"


@pytest.mark.parametrize("budget", [{"jobs": 1}, {"system.echo": 1}, {"tokens": 7}])
async def test_a_budget_that_is_used_up_refuses_until_the_next_day(
    gateway: Any, client: httpx.AsyncClient, worker: Any, budget: dict[str, int]
) -> None:
    key = await made(client, limits={"daily": {**budget, "nlp.embed": 100}})
    async with gateway.with_key(key["key"]) as other:
        assert (await other.post("/v1/jobs", json=ECHO)).status_code == 202
        (job,) = await worker.claim()
        await worker.finish(job, tokens=7)
        for path, body in (("/v1/jobs", ECHO), ("/v1/jobs:batch", {"jobs": [ECHO]})):
            answer = await other.post(path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (429, "budget-exhausted")
            assert 0 < float(answer.headers["retry-after"]) <= 86_400
    async with gateway.with_key((await made(client))["key"]) as unlimited:
        assert (await unlimited.post("/v1/jobs", json=ECHO)).status_code == 202


async def test_an_admin_reads_another_keys_usage_and_nobody_else_does(
    gateway: Any, client: httpx.AsyncClient, worker: Any
) -> None:
    key = await made(client)
    async with gateway.with_key(key["key"]) as other:
        await other.post("/v1/jobs", json=ECHO)
        await worker.run_one()
        (row,) = (await client.get(f"/v1/usage?key_id={key['id']}&by=type")).json()["data"]
        assert (row["type"], row["jobs"]) == ("system.echo", 1)
        (admin,) = [one for one in (await client.get("/v1/keys")).json()["data"] if "admin" in one["scopes"]]
        assert (await other.get(f"/v1/usage?key_id={admin['id']}")).status_code == 403
        assert (await other.get(f"/v1/usage?key_id={key['id']}")).status_code == 200


async def test_each_act_of_an_admin_is_in_the_audit_log(gateway: Any, client: httpx.AsyncClient) -> None:
    began = time.time()
    key = await made(client, limits={"running": 1})
    await client.patch(f"/v1/keys/{key['id']}", json={"name": "till"})
    secret = (await client.post(f"/v1/keys/{key['id']}/rotate")).json()["key"]
    await client.post("/v1/queues/vision/pause")
    await client.post("/v1/queues/vision/resume")
    await client.delete(f"/v1/keys/{key['id']}")
    log = (await client.get("/v1/audit")).json()["data"]
    assert [(one["act"], one["of"]) for one in reversed(log)] == [
        ("key.created", key["id"]), ("key.changed", key["id"]), ("key.rotated", key["id"]),
        ("queue.paused", "vision"), ("queue.resumed", "vision"), ("key.deleted", key["id"]),
    ]  # fmt: skip
    (admin,) = (await client.get("/v1/keys")).json()["data"]
    assert {one["by"] for one in log} == {admin["id"]}
    assert log[4]["detail"] == {"name": "till", "changed": ["name"]}
    assert secret not in str(log) and key["key"] not in str(log)
    assert all(time.strftime("%Y-%m-%dT", time.gmtime(began))[:8] == one["at"][:8] for one in log)
    first = (await client.get("/v1/audit?limit=4")).json()
    rest = (await client.get(f"/v1/audit?limit=4&cursor={first['next_cursor']}")).json()
    assert first["data"] + rest["data"] == log and rest["next_cursor"] is None
    assert (await client.get("/v1/audit?cursor=x")).status_code == 422


async def test_only_an_admin_reads_the_audit_log(gateway: Any) -> None:
    async with await gateway.key("jobs:read") as reader:
        assert (await reader.get("/v1/audit")).status_code == 403


async def test_a_deleted_key_leaves_no_cap_behind(gateway: Any, client: httpx.AsyncClient) -> None:
    key = await made(client, limits={"running": 1})
    await client.delete(f"/v1/keys/{key['id']}")
    call = verbs.cap("nlp", key["id"])
    assert await gateway.app.state.ledger.run(call) == 0, "there was none to take away"


async def test_a_keys_limits_hold_for_pipelines(gateway: Any, client: httpx.AsyncClient, worker: Any) -> None:
    steps = {"steps": dict.fromkeys(("a", "b"), ECHO)}
    for limits, code in (({"waiting": 1}, "queue-full"), ({"daily": {"jobs": 1}}, "budget-exhausted")):
        key = await made(client, limits=limits)
        async with gateway.with_key(key["key"]) as other:
            if "daily" in limits:
                await other.post("/v1/jobs", json=ECHO)
                await worker.run_one()
            answer = await other.post("/v1/pipelines", json=steps)
            assert (answer.status_code, answer.json()["code"]) == (429, code)
            assert (await other.get("/v1/pipelines")).json()["data"] == []
    key = await made(client, limits={"waiting": 2})
    async with gateway.with_key(key["key"]) as other:
        assert (await other.post("/v1/pipelines", json=steps)).status_code == 202


async def test_a_key_may_store_less_than_others(gateway: Any, client: httpx.AsyncClient) -> None:
    key = await made(client, limits={"storage_bytes": 1000})
    async with gateway.with_key(key["key"]) as other:
        answers = [await other.post("/v1/files", files={"file": ("a", b"x" * 600)}) for _ in range(2)]
        begun = await other.post("/v1/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "600"})
    assert [answer.status_code for answer in (*answers, begun)] == [201, 507, 507]
    assert answers[1].json()["code"] == begun.json()["code"] == "storage-full"
    assert (await client.post("/v1/files", files={"file": ("a", b"x" * 2000)})).status_code == 201
