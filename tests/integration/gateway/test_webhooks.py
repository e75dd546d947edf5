"""Webhook endpoints, their deliveries, secrets and the inbox over HTTP, with a courier that delivers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

sys.path.insert(0, str(Path(__file__).parents[2] / "doubles"))

from webhook_receiver import Receiver, receiver, status

from callboard_courier.delivery.deliverer import Rounds
from callboard_courier.settings import DeliverySettings
from callboard_gateway.settings import GatewaySettings
from callboard_shared.ids import is_id
from callboard_shared.ledger import AsyncLedger
from callboard_shared.settings import LedgerSettings, OutboundSettings
from callboard_shared.urls import Policy
from callboard_shared.webhooks import ENDINGS

ADMIN_KEY = "cb_testtest_" + "k" * 43
ECHO = {"type": "system.echo", "input": {"value": 1}}
pytestmark = pytest.mark.usefixtures("courier")


@pytest.fixture
def settings() -> GatewaySettings:
    return GatewaySettings(admin_key=SecretStr(ADMIN_KEY), webhook_inbox=True, max_webhook_endpoints=5)


@pytest.fixture
def outbound() -> OutboundSettings:
    return OutboundSettings(webhook_allow_private=True)


@pytest.fixture
async def courier(valkey_url: str) -> AsyncIterator[None]:
    ledger = AsyncLedger(LedgerSettings(redis_url=SecretStr(valkey_url)))
    stop = asyncio.Event()
    quick = DeliverySettings(webhook_timeout_s=2)
    rounds = Rounds(ledger, quick, stop.is_set, 1, policy=Policy(allow_private=True))
    task = asyncio.create_task(rounds.run())
    yield
    stop.set()
    await asyncio.wait([task], timeout=5)
    await ledger.close()


@pytest.fixture
async def hooks() -> AsyncIterator[Receiver]:
    async with receiver() as running:
        yield running


async def endpoint(client: httpx.AsyncClient, url: str, **more: Any) -> dict[str, Any]:
    answer = await client.post("/v1/webhook-endpoints", json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def deliveries(client: httpx.AsyncClient, **filters: Any) -> list[dict[str, Any]]:
    answer = await client.get("/v1/deliveries", params=filters)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


async def until(client: httpx.AsyncClient, count: int, **filters: Any) -> list[dict[str, Any]]:
    """The deliveries, once there are so many that fit."""
    async with asyncio.timeout(10):
        while len(found := await deliveries(client, **filters)) < count:
            await asyncio.sleep(0.02)
    return found


async def run_job(client: httpx.AsyncClient, worker: Any, **more: Any) -> str:
    job = (await client.post("/v1/jobs", json=ECHO | more)).json()["id"]
    await worker.run_one()
    return str(job)


async def test_an_endpoint_is_made_read_changed_and_deleted(client: httpx.AsyncClient) -> None:
    made = await endpoint(client, "https://example.com/hooks", events=["job.failed"], description="pager")
    assert is_id(made["id"], "whe") and made["secret"].startswith("whsec_")
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert (shown["events"], shown["description"], shown["enabled"]) == (["job.failed"], "pager", True)
    assert (shown["disabled_at"], shown["disabled_reason"]) == (None, None)
    path = f"/v1/webhook-endpoints/{made['id']}"
    assert (await client.get(path)).json() == shown
    assert (await client.get("/v1/webhook-endpoints")).json() == {"data": [shown], "next_cursor": None}
    changed = await client.patch(path, json={"events": None, "url": "https://example.com/other"})
    assert changed.json()["events"] == list(ENDINGS)
    assert (changed.json()["url"], changed.json()["description"]) == ("https://example.com/other", "pager")
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).status_code == (await client.delete(path)).status_code == 404


async def test_a_secret_is_shown_to_its_owner_and_in_no_list(client: httpx.AsyncClient) -> None:
    made = await endpoint(client, "https://example.com/hooks")
    path = f"/v1/webhook-endpoints/{made['id']}"
    assert (await client.get(f"{path}/secret")).json() == {"secret": made["secret"], "previous": []}
    rotated = (await client.post(f"{path}/rotate")).json()
    assert rotated["secret"] != made["secret"]
    shown = (await client.get(f"{path}/secret")).json()
    assert shown == {"secret": rotated["secret"], "previous": [made["secret"]]}
    for text in ((await client.get(path)).text, (await client.get("/v1/webhook-endpoints")).text):
        assert "whsec_" not in text


@pytest.mark.parametrize(
    "url", ["ftp://example.com/", "http://example.com/", "https://10.0.0.1/", "https://user:pw@example.com/",
            "http://169.254.169.254/", "https://example.com:22/", "nothing"],
)  # fmt: skip
async def test_a_url_that_is_not_public_is_refused(client: httpx.AsyncClient, url: str) -> None:
    answer = await client.post("/v1/webhook-endpoints", json={"url": url})
    assert (answer.status_code, answer.json()["code"]) == (422, "url-not-allowed")
    assert answer.json()["errors"][0]["field"] == "url"
    made = await endpoint(client, "https://example.com/hooks")
    changed = await client.patch(f"/v1/webhook-endpoints/{made['id']}", json={"url": url})
    assert (changed.status_code, changed.json()["code"]) == (422, "url-not-allowed")


@pytest.mark.parametrize(
    "body", [{}, {"url": 1}, {"url": "https://example.com/", "events": ["job.exploded"]},
             {"url": "https://example.com/", "events": []}, {"url": "https://example.com/", "secret": "whsec_x"}],
)  # fmt: skip
async def test_what_is_not_an_endpoint_is_refused(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    answer = await client.post("/v1/webhook-endpoints", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation")


async def test_a_key_has_so_many_endpoints_and_pages_of_them(client: httpx.AsyncClient) -> None:
    made = [await endpoint(client, f"https://example.com/{n}") for n in range(5)]
    answer = await client.post("/v1/webhook-endpoints", json={"url": "https://example.com/6"})
    assert (answer.status_code, answer.json()["code"]) == (409, "too-many-endpoints")
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/webhook-endpoints", params=params)).json()
        seen += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(one["id"] for one in made) and len(seen) == 5


async def test_an_ended_job_is_told_to_its_own_url_and_to_the_key_s_endpoints(
    client: httpx.AsyncClient, worker: Any, hooks: Any
) -> None:
    made = await endpoint(client, hooks.url("/all"))
    job = await run_job(client, worker, webhook={"url": hooks.url("/own")})
    await hooks.until(lambda: len(hooks.received) == 2)
    assert {one.json["data"]["id"] for one in hooks.received} == {job}
    own_secret = (await client.get("/v1/webhook-secret")).json()["secret"]
    (to_endpoint,), (to_job,) = hooks.at("/all"), hooks.at("/own")
    assert Webhook(made["secret"]).verify(to_endpoint.body, to_endpoint.headers)["type"] == "job.succeeded"
    whole = Webhook(own_secret).verify(to_job.body, to_job.headers)
    assert whole["data"] == (await client.get(f"/v1/jobs/{job}")).json()
    found = await until(client, 2, status="delivered")
    assert {one["endpoint_id"] for one in found} == {None, made["id"]}
    (one,) = (await client.get(f"/v1/webhook-endpoints/{made['id']}/deliveries")).json()["data"]
    assert one == (await client.get(f"/v1/deliveries/{one['id']}")).json()
    assert (one["job_id"], one["event"], one["webhook_id"], one["url"]) == (
        job, "job.succeeded", to_endpoint.id, hooks.url("/all"),
    )  # fmt: skip
    (tried,) = one["tries"]
    assert (tried["status_code"], tried["error"], one["next_try_at"]) == (204, None, None)
    assert tried["at"].endswith("Z") and tried["latency_ms"] >= 0


async def test_deliveries_are_filtered_and_paged(client: httpx.AsyncClient, worker: Any, hooks: Any) -> None:
    hooks.answers["/bad"] = [status(500)]
    jobs = [await run_job(client, worker, webhook={"url": hooks.url("/good")}) for _ in range(3)]
    failing = await run_job(client, worker, webhook={"url": hooks.url("/bad")})
    await until(client, 3, status="delivered")
    (failed,) = await until(client, 1, status="failed")
    assert failed["job_id"] == failing and failed["next_try_at"] is not None
    assert failed["tries"][0]["status_code"] == 500
    assert [one["job_id"] for one in await deliveries(client, job_id=jobs[1])] == [jobs[1]]
    assert len(await deliveries(client, event="job.succeeded")) == 4 and not await deliveries(
        client, event="job.failed"
    )
    first = (await client.get("/v1/deliveries", params={"limit": 3})).json()
    rest = (await client.get("/v1/deliveries", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert rest["next_cursor"] is None
    assert {one["job_id"] for one in first["data"] + rest["data"]} == {*jobs, failing}
    answer = await client.get("/v1/deliveries", params={"status": "lost"})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation")


async def test_a_test_is_sent_at_once_and_its_delivery_shown(client: httpx.AsyncClient, hooks: Any) -> None:
    hooks.answers["/hook"] = [status(200, b"hello"), status(500)]
    made = await endpoint(client, hooks.url(), events=["job.failed"])
    answer = await client.post(f"/v1/webhook-endpoints/{made['id']}/test")
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["event"], shown["status"], shown["job_id"]) == ("webhook.test", "delivered", None)
    assert shown["tries"][0]["response"] == "hello"
    (received,) = hooks.received
    assert (
        Webhook(made["secret"]).verify(received.body, received.headers)["data"]["endpoint_id"] == made["id"]
    )
    second = (await client.post(f"/v1/webhook-endpoints/{made['id']}/test")).json()
    assert (second["status"], second["next_try_at"]) == ("failed", None)  # a test is tried once


async def test_a_delivery_is_made_again_on_request_under_the_same_id(
    client: httpx.AsyncClient, worker: Any, hooks: Any
) -> None:
    await run_job(client, worker, webhook={"url": hooks.url()})
    (done,) = await until(client, 1, status="delivered")
    again = await client.post(f"/v1/deliveries/{done['id']}/redeliver")
    assert (again.status_code, again.json()["id"]) == (202, done["id"])
    await hooks.until(lambda: len(hooks.received) == 2)
    assert hooks.received[0].id == hooks.received[1].id == done["webhook_id"]
    (twice,) = await until(client, 1, status="delivered")
    assert [one["status_code"] for one in twice["tries"]] == [204, 204]


async def test_what_failed_while_an_endpoint_was_gone_is_recovered(
    client: httpx.AsyncClient, worker: Any, hooks: Any
) -> None:
    hooks.answers["/hook"] = [status(410), status(204)]
    made = await endpoint(client, hooks.url())
    path = f"/v1/webhook-endpoints/{made['id']}"
    await run_job(client, worker)
    (failed,) = await until(client, 1, status="failed")
    shown = (await client.get(path)).json()
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "It answered 410 Gone.")
    await run_job(client, worker)
    await until(client, 2, status="failed")
    since = {"since": failed["created_at"]}
    refused = await client.post(f"{path}/recover", json=since)
    assert (refused.status_code, refused.json()["code"]) == (409, "endpoint-disabled")
    assert (await client.post(f"{path}/test")).status_code == 409
    assert (await client.post(f"/v1/deliveries/{failed['id']}/redeliver")).json()[
        "code"
    ] == "endpoint-disabled"
    assert (await client.patch(path, json={"enabled": True})).json()["enabled"] is True
    recovered = await client.post(f"{path}/recover", json=since)
    assert (recovered.status_code, recovered.json()["deliveries"]) == (202, 2)
    await until(client, 2, status="delivered")
    assert (await client.post(f"{path}/recover", json=since)).json()["deliveries"] == 0
    late = await client.post(f"{path}/recover", json={"since": "2099-01-01T00:00:00Z"})
    assert (late.status_code, late.json()["errors"][0]["field"]) == (422, "since")


async def test_a_disabled_endpoint_gets_nothing(client: httpx.AsyncClient, worker: Any, hooks: Any) -> None:
    made = await endpoint(client, hooks.url())
    path = f"/v1/webhook-endpoints/{made['id']}"
    assert (
        (await client.patch(path, json={"enabled": False}))
        .json()["disabled_reason"]
        .startswith("It was disabled")
    )
    await run_job(client, worker)
    await until(client, 1, status="failed")
    assert hooks.received == []


async def test_the_key_s_own_secret_is_made_once_and_rotated(gateway: Any, client: httpx.AsyncClient) -> None:
    first = (await client.get("/v1/webhook-secret")).json()
    assert first["secret"].startswith("whsec_") and first["previous"] == []
    assert (await client.get("/v1/webhook-secret")).json() == first
    rotated = (await client.post("/v1/webhook-secret/rotate")).json()
    assert rotated["secret"] != first["secret"] and rotated["previous"] == [first["secret"]]
    async with await gateway.key("jobs:read") as other:
        assert (await other.get("/v1/webhook-secret")).json()["secret"] not in (
            first["secret"],
            rotated["secret"],
        )


async def test_another_key_s_endpoints_and_deliveries_are_not_there(
    gateway: Any, client: httpx.AsyncClient, worker: Any, hooks: Any
) -> None:
    made = await endpoint(client, hooks.url())
    await run_job(client, worker)
    (delivery,) = await until(client, 1, status="delivered")
    path, own = f"/v1/webhook-endpoints/{made['id']}", f"/v1/deliveries/{delivery['id']}"
    async with await gateway.key("jobs:read", "jobs:write") as other:
        asked = [
            other.get(path), other.patch(path, json={"enabled": False}), other.delete(path), other.get(f"{path}/secret"),
            other.post(f"{path}/rotate"), other.post(f"{path}/test"), other.get(f"{path}/deliveries"),
            other.post(f"{path}/recover", json={"since": "2026-01-01T00:00:00Z"}), other.get(own),
            other.post(f"{own}/redeliver"),
        ]  # fmt: skip
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {404}
        assert (await other.get("/v1/webhook-endpoints")).json()["data"] == await deliveries(other) == []
    assert (await client.get(path)).json()["enabled"] is True


async def test_reading_needs_one_scope_and_changing_the_other(
    gateway: Any, client: httpx.AsyncClient
) -> None:
    path = "/v1/webhook-endpoints"
    async with await gateway.key("jobs:read") as reader, await gateway.key("jobs:write") as writer:
        body = {"url": "https://example.com/"}
        assert (await reader.post(path, json=body)).status_code == 403
        assert (await reader.post("/v1/webhook-secret/rotate")).status_code == 403
        assert (await writer.get(path)).status_code == (await writer.get("/v1/deliveries")).status_code == 403
        assert (await reader.get(path)).status_code == 200
        assert (await writer.post(path, json=body)).status_code == 201
    async with gateway.with_key(None) as nobody:
        for one in (path, "/v1/deliveries", "/v1/webhook-secret", "/v1/webhook-inbox/first"):
            assert (await nobody.get(one)).status_code == 401


async def test_the_inbox_shows_a_signed_webhook_to_the_key_that_it_is_of(
    gateway: Any, client: httpx.AsyncClient, worker: Any, served: str
) -> None:
    job = await run_job(client, worker, webhook={"url": f"{served}/v1/webhook-inbox/first"})
    (delivery,) = await until(client, 1, status="delivered")
    assert delivery["tries"][0]["response"] == '{"verified":true,"reason":null}'
    (entry,) = (await client.get("/v1/webhook-inbox/first")).json()["data"]
    assert (entry["verified"], entry["reason"], entry["event"]) == (True, None, "job.succeeded")
    assert (entry["webhook_id"], entry["delivery_id"]) == (delivery["webhook_id"], delivery["id"])
    assert entry["body"]["data"]["id"] == job
    assert entry["headers"]["webhook-signature"].startswith("v1,")
    async with await gateway.key("jobs:read") as other:
        assert (await other.get("/v1/webhook-inbox/first")).json()["data"] == []
    made = await endpoint(client, f"{served}/v1/webhook-inbox/second")
    assert (await client.post(f"/v1/webhook-endpoints/{made['id']}/test")).json()["status"] == "delivered"
    (tested,) = (await client.get("/v1/webhook-inbox/second")).json()["data"]
    assert (tested["verified"], tested["event"]) == (True, "webhook.test")


async def test_the_inbox_does_not_believe_what_is_not_signed(
    gateway: Any, client: httpx.AsyncClient, worker: Any, served: str
) -> None:
    await run_job(client, worker, webhook={"url": f"{served}/v1/webhook-inbox/first"})
    (delivery,) = await until(client, 1, status="delivered")
    (entry,) = (await client.get("/v1/webhook-inbox/first")).json()["data"]
    async with gateway.with_key(None) as anybody:
        forged = await anybody.post("/v1/webhook-inbox/first", json={"type": "x"}, headers=entry["headers"])
        assert forged.json() == {"verified": False, "reason": "no matching signature found"}
        old = entry["headers"] | {"webhook-timestamp": "1600000000"}
        assert (await anybody.post("/v1/webhook-inbox/first", json={}, headers=old)).json()["reason"] == (
            "message timestamp too old"
        )
        stray = await anybody.post("/v1/webhook-inbox/first", content=b"\xff not json")
        assert stray.status_code == 200 and stray.json()["reason"].startswith("not ours")
        for bad in (
            {"webhook-signature": "nonsense"},
            {"webhook-signature": "v1,%%%"},
            {"webhook-timestamp": "soon"},
        ):
            answer = await anybody.post("/v1/webhook-inbox/first", json={}, headers=entry["headers"] | bad)
            assert (answer.status_code, answer.json()["verified"]) == (200, False)
        too_large = await anybody.post("/v1/webhook-inbox/first", content=b"x" * 40_000)
        assert (too_large.status_code, too_large.json()["code"]) == (413, "too-large")
        assert (await anybody.post("/v1/webhook-inbox/" + "n" * 65, json={})).status_code == 422
    shown = (await client.get("/v1/webhook-inbox/first")).json()["data"]
    assert [one["verified"] for one in shown] == [False] * 6 + [True]
    assert shown[3]["body"] == "\ufffd not json" and delivery["id"] == shown[-1]["delivery_id"]


async def test_an_inbox_keeps_the_last_twenty(gateway: Any, client: httpx.AsyncClient) -> None:
    async with gateway.with_key(None) as anybody:
        for n in range(25):
            await anybody.post("/v1/webhook-inbox/many", json={"n": n})
        for n in range(60):
            await anybody.post(f"/v1/webhook-inbox/name-{n}", json={})
    assert (await client.get("/v1/webhook-inbox/many")).json()["data"] == []  # fifty other names came since
    assert len((await client.get("/v1/webhook-inbox/name-59")).json()["data"]) == 1


async def test_every_route_is_in_the_openapi_document(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    there = {
        (path, method)
        for path, item in paths.items()
        for method in item
        if "webhook" in path or "deliver" in path
    }
    one = "/v1/webhook-endpoints/{endpoint_id}"
    assert there == {
        ("/v1/webhook-endpoints", "get"), ("/v1/webhook-endpoints", "post"), (one, "get"), (one, "patch"), (one, "delete"),
        (f"{one}/secret", "get"), (f"{one}/rotate", "post"), (f"{one}/test", "post"), (f"{one}/recover", "post"),
        (f"{one}/deliveries", "get"), ("/v1/deliveries", "get"), ("/v1/deliveries/{delivery_id}", "get"),
        ("/v1/deliveries/{delivery_id}/redeliver", "post"), ("/v1/webhook-secret", "get"),
        ("/v1/webhook-secret/rotate", "post"), ("/v1/webhook-inbox/{name}", "get"), ("/v1/webhook-inbox/{name}", "post"),
    }  # fmt: skip
    assert paths["/v1/webhook-inbox/{name}"]["post"]["security"] == []
    assert paths["/v1/webhook-inbox/{name}"]["get"]["security"] == [{"ApiKey": ["jobs:read"]}]
