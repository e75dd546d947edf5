"""Webhooks in the client: what is sent, what its answers read as, and what is believed."""

from __future__ import annotations

import inspect
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest
from standardwebhooks import Webhook

from callboard_client import AsyncCallboard, Callboard, Conflict, WebhookNotVerified, verify_webhook
from callboard_client._webhooks import AsyncWebhooks

ENDPOINT = {"id": "whe_1", "url": "https://example.com/", "events": ["job.failed"], "secret": "whsec_eA=="}
PATH = "/v1/webhook-endpoints/whe_1"
SECRET, OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_b3RoZXIgc2VjcmV0"


def signed(body: bytes, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    moment = datetime.fromtimestamp(int(at or time.time()), UTC)
    signature = Webhook(secret).sign("evt_1", moment, body.decode())
    return {
        "Webhook-Id": "evt_1",
        "Webhook-Timestamp": str(int(moment.timestamp())),
        "Webhook-Signature": signature,
    }


def test_an_endpoint_is_made_with_its_secret_which_no_repr_shows(
    callboard: Callboard, gateway: Any, make: Any
) -> None:
    gateway.on("POST", "/v1/webhook-endpoints", make.answer(201, ENDPOINT))
    made = callboard.webhooks.create("https://example.com/", events=["job.failed"])
    assert gateway.seen[0].json == {
        "url": "https://example.com/", "description": "", "events": ["job.failed"]
    }  # fmt: skip
    assert made.secret == "whsec_eA==" and "whsec_" not in repr(made)
    callboard.webhooks.create("https://example.com/", description="all")
    assert gateway.seen[1].json == {"url": "https://example.com/", "description": "all"}


def test_endpoints_are_listed_read_changed_and_deleted(callboard: Callboard, gateway: Any, make: Any) -> None:
    gateway.on("GET", "/v1/webhook-endpoints", make.answer(200, {"data": [ENDPOINT], "next_cursor": None}))
    gateway.on("GET", PATH, make.answer(200, ENDPOINT))
    gateway.on("PATCH", PATH, make.answer(200, ENDPOINT | {"enabled": False}))
    gateway.on("DELETE", PATH, make.answer(204, None))
    (listed,) = callboard.webhooks.list()
    assert callboard.webhooks.get(listed) == listed
    assert callboard.webhooks.update(listed, enabled=False, events=None).enabled is False
    assert gateway.seen[-1].json == {"enabled": False, "events": None}
    callboard.webhooks.delete("whe_1")
    assert gateway.seen[-1].method == "DELETE"


def test_deliveries_are_listed_by_what_is_asked_and_made_again(
    callboard: Callboard, gateway: Any, make: Any
) -> None:
    tried = {
        "at": "2026-11-22T09:30:00.000Z",
        "status_code": 500,
        "latency_ms": 3,
        "response": "no",
        "error": None,
    }
    one = {"id": "whd_1", "event": "job.failed", "status": "failed", "tries": [tried], "job_id": "job_1"}
    page = {"data": [one], "next_cursor": None}
    for path in ("/v1/deliveries", f"{PATH}/deliveries"):
        gateway.on("GET", path, make.answer(200, page))
    gateway.on("GET", "/v1/deliveries/whd_1", make.answer(200, one))
    gateway.on("POST", "/v1/deliveries/whd_1/redeliver", make.answer(202, one | {"status": "pending"}))
    gateway.on("POST", f"{PATH}/recover", make.answer(202, {"since": "x", "deliveries": 7}))
    gateway.on("POST", f"{PATH}/test", make.answer(200, one))
    (found,) = callboard.webhooks.deliveries(status="failed", event="job.failed", job="job_1")
    assert gateway.seen[-1].query == {
        "status": "failed", "event": "job.failed", "job_id": "job_1", "limit": "100",
    }  # fmt: skip
    assert found.tries[0].status_code == 500 and found.tries[0].at == datetime(
        2026, 11, 22, 9, 30, tzinfo=UTC
    )
    assert list(callboard.webhooks.deliveries("whe_1")) == [found]
    assert callboard.webhooks.delivery(found) == found
    assert callboard.webhooks.redeliver(found).status == "pending"
    assert callboard.webhooks.recover("whe_1", datetime(2026, 11, 22, tzinfo=UTC)) == 7
    assert gateway.seen[-1].json == {"since": "2026-11-22T00:00:00.000+00:00"}
    assert callboard.webhooks.test("whe_1") == found


def test_secrets_are_the_endpoint_s_or_the_key_s_own(callboard: Callboard, gateway: Any, make: Any) -> None:
    gateway.on("GET", "/v1/webhook-secret", make.answer(200, {"secret": SECRET, "previous": [OTHER]}))
    gateway.on("GET", f"{PATH}/secret", make.answer(200, {"secret": OTHER, "previous": []}))
    gateway.on("POST", "/v1/webhook-secret/rotate", make.answer(200, {"secret": "whsec_new"}))
    gateway.on("POST", f"{PATH}/rotate", make.answer(200, ENDPOINT))
    own = callboard.webhooks.secret()
    assert (own.secret, own.previous) == (SECRET, [OTHER]) and "whsec_" not in repr(own)
    assert callboard.webhooks.secret("whe_1").secret == OTHER
    assert callboard.webhooks.rotate().secret == "whsec_new"
    assert callboard.webhooks.rotate("whe_1").secret == ENDPOINT["secret"]


def test_a_disabled_endpoint_is_a_conflict(callboard: Callboard, gateway: Any, make: Any) -> None:
    gateway.on("POST", f"{PATH}/test", make.answer(409, make.problem(409, "endpoint-disabled")))
    with pytest.raises(Conflict, match="endpoint-disabled"):
        callboard.webhooks.test("whe_1")


async def test_the_async_client_does_the_same(
    async_callboard: AsyncCallboard, gateway: Any, make: Any
) -> None:
    gateway.on("POST", "/v1/webhook-endpoints", make.answer(201, ENDPOINT))
    gateway.on("GET", "/v1/webhook-endpoints", make.answer(200, {"data": [ENDPOINT], "next_cursor": None}))
    gateway.on("GET", PATH, make.answer(200, ENDPOINT))
    gateway.on("PATCH", PATH, make.answer(200, ENDPOINT))
    gateway.on("DELETE", PATH, make.answer(204, None))
    gateway.on("POST", f"{PATH}/test", make.answer(200, {"id": "whd_1"}))
    gateway.on("POST", f"{PATH}/rotate", make.answer(200, ENDPOINT))
    gateway.on("GET", f"{PATH}/secret", make.answer(200, {"secret": OTHER}))
    gateway.on("POST", f"{PATH}/recover", make.answer(202, {"deliveries": 1}))
    gateway.on("GET", "/v1/deliveries", make.answer(200, {"data": [{"id": "whd_1"}], "next_cursor": None}))
    gateway.on("GET", "/v1/deliveries/whd_1", make.answer(200, {"id": "whd_1"}))
    gateway.on("POST", "/v1/deliveries/whd_1/redeliver", make.answer(202, {"id": "whd_1"}))
    hooks = async_callboard.webhooks
    made = await hooks.create("https://example.com/")
    assert [one async for one in hooks.list()] == [await hooks.get(made)]
    await hooks.update(made, description="x")
    assert (await hooks.test(made)).id == "whd_1"
    assert (await hooks.rotate(made)).secret == ENDPOINT["secret"]
    assert (await hooks.secret(made)).secret == OTHER
    assert await hooks.recover(made, "2026-11-22T00:00:00Z") == 1
    (one,) = [one async for one in hooks.deliveries()]
    assert await hooks.delivery(one) == await hooks.redeliver(one) == one
    await hooks.delete(made)
    asked = {name for name, member in vars(AsyncWebhooks).items() if inspect.isfunction(member)} - {
        "__init__"
    }
    assert len(gateway.seen) == len(asked)


def test_what_our_secret_signed_is_believed() -> None:
    body = b'{"type":"job.succeeded","timestamp":"x","data":{"id":"job_1"}}'
    assert verify_webhook(body, signed(body), SECRET) == orjson.loads(body)
    assert verify_webhook(body.decode(), httpx.Headers(signed(body)), [OTHER, SECRET])["data"] == {
        "id": "job_1"
    }


def test_either_of_two_signatures_will_do() -> None:
    body = b"{}"
    both = signed(body) | {
        "Webhook-Signature": f"{signed(body, OTHER)['Webhook-Signature']} {signed(body)['Webhook-Signature']}"
    }
    assert verify_webhook(body, both, SECRET) == verify_webhook(body, both, OTHER) == {}


@pytest.mark.parametrize(
    ("body", "headers", "secret"),
    [
        (b'{"a":2}', signed(b'{"a":1}'), SECRET),
        (b"{}", signed(b"{}"), OTHER),
        (b"{}", signed(b"{}", at=time.time() - 400), SECRET),
        (b"{}", signed(b"{}", at=time.time() + 100_000), SECRET),
        (b"{}", signed(b"{}") | {"Webhook-Signature": "v1"}, SECRET),
        (b"{}", signed(b"{}") | {"Webhook-Signature": "v2,AAAA"}, SECRET),
        (b"{}", signed(b"{}") | {"Webhook-Timestamp": "now"}, SECRET),
        (b"{}", {}, SECRET),
        (b"\xff", signed(b"{}"), SECRET),
        (b"{}", signed(b"{}"), []),
    ],
)
def test_what_is_not_signed_by_it_or_not_now_is_not(
    body: bytes, headers: dict[str, str], secret: Any
) -> None:
    with pytest.raises(WebhookNotVerified):
        verify_webhook(body, headers, secret)
