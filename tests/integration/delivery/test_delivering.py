"""Webhooks reach their receivers: signed, thin where they are large, in order, and one destination never delays another."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from builders import QUEUE, claim, finish, submitted
from clocked import START_MS
from standardwebhooks import Webhook, WebhookVerificationError
from webhook_receiver import silence, status

from callboard_shared.ids import is_id
from callboard_shared.ledger import verbs
from callboard_shared.ledger.endpoints import (
    disable_endpoint,
    endpoint_secrets,
    own_secrets,
    remove_endpoint,
    rotate_secret,
)
from callboard_shared.ledger.outbox import outbox_length
from callboard_shared.view import job_view
from callboard_shared.webhooks import hook, new_webhook_secret

OWNER = "key_ann"


def verified(secret: str, received: Any) -> bool:
    """By the library, at the time of the test's clock."""
    second = int(received.headers["webhook-timestamp"])
    expected = Webhook(secret).sign(received.id, datetime.fromtimestamp(second, UTC), received.body.decode())
    return expected in received.headers["webhook-signature"].split(" ")


async def test_a_job_s_own_webhook_is_posted_with_the_job_as_it_is_read(desk: Any, hooks: Any) -> None:
    desk.courier()
    job = desk.job(hooks.url())
    await hooks.until(lambda: len(hooks.received) == 1)
    (received,) = hooks.received
    (record,) = desk.clock.run(verbs.read(QUEUE, [job]))
    assert received.json == {
        "type": "job.succeeded", "timestamp": "2027-01-15T08:00:00.000Z",
        "data": orjson.loads(orjson.dumps(job_view(record))),
    }  # fmt: skip
    assert received.headers["content-type"] == "application/json"
    assert abs(int(received.headers["webhook-timestamp"]) - START_MS // 1000) <= 1
    assert is_id(received.id, "evt")


async def test_it_is_signed_with_the_key_s_own_secret(desk: Any, hooks: Any) -> None:
    desk.courier()
    desk.job(hooks.url())
    await hooks.until(lambda: len(hooks.received) == 1)
    (secret,) = await desk.ledger.run(own_secrets(OWNER, new_webhook_secret()))
    assert verified(secret, hooks.received[0])
    assert not verified(new_webhook_secret(), hooks.received[0])


async def test_the_signature_is_what_the_library_verifies(desk: Any, hooks: Any) -> None:
    """By today's clock, since the library asks that."""
    desk.clock.set_time(int(datetime.now(UTC).timestamp() * 1000))
    desk.courier()
    desk.job(hooks.url())
    await hooks.until(lambda: len(hooks.received) == 1)
    (secret,) = await desk.ledger.run(own_secrets(OWNER, new_webhook_secret()))
    received = hooks.received[0]
    assert Webhook(secret).verify(received.body, received.headers)["type"] == "job.succeeded"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(received.body.replace(b"succeeded", b"failed"), received.headers)


async def test_a_delivery_keeps_an_account_of_its_try(desk: Any, hooks: Any) -> None:
    hooks.answers["/hook"] = [status(200, b"thank you" + b"!" * 2000)]
    desk.courier()
    job = desk.job(hooks.url())
    (delivery,) = await desk.until(lambda found: found and found[0].status == "delivered")
    assert (delivery.subject, delivery.event, delivery.url) == (job, "job.succeeded", hooks.url())
    assert delivery.message == hooks.received[0].id
    assert hooks.received[0].headers["callboard-delivery"] == delivery.id
    (account,) = map(orjson.loads, delivery.tries)
    assert (account["status_code"], account["error"]) == (200, None)
    assert account["response"] == ("thank you" + "!" * 2000)[:1000]
    assert START_MS <= account["at"] < START_MS + 5_000 and 0 <= account["latency_ms"] < 5_000


@pytest.mark.parametrize("size", [10_000, 30_000])
async def test_a_body_over_twenty_kilobytes_goes_without_input_and_output(
    desk: Any, hooks: Any, size: int
) -> None:
    desk.courier()
    job = submitted(desk.clock, hook=hook(["job.succeeded"], hooks.url()))
    claim(desk.clock)
    finish(desk.clock, job.id, 1, "succeeded", output=orjson.dumps({"text": "x" * size}))
    await hooks.until(lambda: len(hooks.received) == 1)
    data = hooks.received[0].json["data"]
    assert ("output" in data, "input" in data) == ((True, True) if size < 20_000 else (False, False))
    assert (data["id"], data["status"]) == (job.id, "succeeded")


async def test_only_the_events_asked_for_are_told(desk: Any, hooks: Any) -> None:
    desk.courier()
    desk.job(hooks.url("/own"), "job.failed")
    await desk.endpoint(hooks.url("/failures"), "job.failed", "job.canceled")
    await desk.endpoint(hooks.url("/endings"))
    await desk.endpoint(hooks.url("/starts"), "job.running")
    job = desk.job(hooks.url("/own2"))
    canceled = submitted(desk.clock)
    desk.clock.run(verbs.cancel(canceled.id, QUEUE))
    await hooks.until(lambda: len(hooks.received) == 5)
    told = {
        path: sorted(one.json["type"] for one in hooks.at(path))
        for path in ("/own", "/failures", "/endings", "/starts")
    }
    assert told == {
        "/own": [], "/failures": ["job.canceled"], "/endings": ["job.canceled", "job.succeeded"], "/starts": ["job.running"],
    }  # fmt: skip
    assert [one.json["data"]["id"] for one in hooks.at("/own2")] == [job]


async def test_an_event_has_one_id_and_each_endpoint_its_own_secret(desk: Any, hooks: Any) -> None:
    one, two = await desk.endpoint(hooks.url("/one")), await desk.endpoint(hooks.url("/two"))
    desk.courier()
    desk.job(hooks.url("/own"))
    await hooks.until(lambda: len(hooks.received) == 3)
    assert len({received.id for received in hooks.received}) == 1
    for endpoint, path in ((one, "/one"), (two, "/two")):
        (secret,) = await desk.ledger.run(endpoint_secrets(OWNER, endpoint))
        assert [received.path for received in hooks.received if verified(secret, received)] == [path]


async def test_another_key_s_endpoint_hears_nothing(desk: Any, hooks: Any) -> None:
    await desk.endpoint(hooks.url("/mine"))
    desk.courier()
    other = submitted(desk.clock, owner="key_bob", hook=hook(["job.succeeded"], hooks.url("/theirs")))
    claim(desk.clock)
    finish(desk.clock, other.id, 1, "succeeded", output=b"1")
    await hooks.until(lambda: len(hooks.received) == 1)
    await desk.until(lambda found: True)
    assert [one.path for one in hooks.received] == ["/theirs"]
    assert await desk.deliveries() == []


async def test_a_rotated_secret_signs_beside_the_one_before_for_a_day(desk: Any, hooks: Any) -> None:
    endpoint = await desk.endpoint(hooks.url())
    (before,) = await desk.ledger.run(endpoint_secrets(OWNER, endpoint))
    now = new_webhook_secret()
    await desk.ledger.run(rotate_secret(OWNER, endpoint, now))
    desk.courier()
    desk.job()
    await hooks.until(lambda: len(hooks.received) == 1)
    assert verified(now, hooks.received[0]) and verified(before, hooks.received[0])
    assert len(hooks.received[0].headers["webhook-signature"].split(" ")) == 2
    await desk.pass_time(86_401)
    desk.job()
    await hooks.until(lambda: len(hooks.received) == 2)
    assert verified(now, hooks.received[1]) and not verified(before, hooks.received[1])


async def test_what_is_told_of_a_running_job_is_what_it_was_then(desk: Any, hooks: Any) -> None:
    """Though it has ended by the time that the courier looks."""
    desk.job(hooks.url(), "job.running", "job.succeeded")
    desk.courier()
    await hooks.until(lambda: len(hooks.received) == 2)
    running, ended = (one.json for one in hooks.received)
    assert (running["type"], ended["type"]) == ("job.running", "job.succeeded")
    said = running["data"]
    assert (said["status"], said["output"], said["finished_at"], said["attempt"]) == (
        "running",
        None,
        None,
        1,
    )
    assert ended["data"]["output"] == {"n": 1}


async def test_a_later_event_of_a_job_waits_until_the_earlier_was_tried(desk: Any, hooks: Any) -> None:
    release = asyncio.Event()

    async def held(writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await status(204)(writer)

    hooks.answers["/hook"] = [held]
    desk.courier(webhook_timeout_s=30)
    job = desk.job(hooks.url(), "job.running", "job.succeeded")
    other = desk.job(hooks.url())  # does not wait
    await hooks.until(lambda: len(hooks.received) == 2)
    await desk.pass_time(1)
    told = {(one.json["type"], one.json["data"]["id"]) for one in hooks.received}
    assert told == {("job.running", job), ("job.succeeded", other)}
    release.set()
    await hooks.until(lambda: len(hooks.received) == 3)
    last = hooks.received[2].json
    assert (last["type"], last["data"]["id"]) == ("job.succeeded", job)


async def test_an_earlier_event_that_failed_gives_way_to_the_later(desk: Any, hooks: Any) -> None:
    hooks.answers["/hook"] = [status(500), status(204)]
    desk.courier()
    desk.job(hooks.url(), "job.running", "job.succeeded")
    found = await desk.until(lambda found: any(one.status == "delivered" for one in found))
    earlier, later = sorted(found, key=lambda one: one.event)
    assert (earlier.status, earlier.next_ms, later.status) == ("failed", None, "delivered")
    assert "superseded" in orjson.loads(earlier.tries[-1])["error"]
    await desk.pass_time(100_000)
    assert [one.json["type"] for one in hooks.received] == ["job.running", "job.succeeded"]


async def test_a_dead_endpoint_does_not_delay_another_on_the_same_host(desk: Any, hooks: Any) -> None:
    hooks.answers["/dead"] = [silence]
    await desk.endpoint(hooks.url("/dead"))
    desk.courier(
        webhook_timeout_s=30, webhook_tries=20, webhook_tries_per_endpoint=4, webhook_tries_per_host=16
    )
    for _ in range(50):
        desk.job(hooks.url("/alive"))
    await hooks.until(lambda: len(hooks.at("/alive")) == 50, within_s=5)
    assert len(hooks.at("/dead")) == 4  # as many as one endpoint gets


async def test_one_host_gets_no_more_at_a_time_than_is_set(desk: Any, hooks: Any) -> None:
    paths = [f"/slow/{n}" for n in range(20)]
    release = asyncio.Event()

    async def held(writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await status(204)(writer)

    for path in paths:
        hooks.answers[path] = [held]
        desk.job(hooks.url(path))
    desk.courier(webhook_timeout_s=30, webhook_tries_per_host=5)
    await hooks.until(lambda: len(hooks.received) == 5)
    release.set()
    await hooks.until(lambda: len(hooks.received) == 20)
    assert hooks.most_open == 5


async def test_a_deleted_job_is_told_of_without_what_was_in_it(desk: Any, hooks: Any) -> None:
    job = desk.job(hooks.url())
    desk.clock.run(verbs.delete(job, QUEUE))
    desk.courier()
    await hooks.until(lambda: len(hooks.received) == 1)
    data = hooks.received[0].json["data"]
    assert (data["id"], data["status"], "input" in data, "output" in data) == (job, "succeeded", False, False)


async def test_a_removed_endpoint_gets_nothing_more(desk: Any, hooks: Any) -> None:
    endpoint = await desk.endpoint(hooks.url())
    hooks.answers["/hook"] = [status(500)]
    desk.courier()
    desk.job()
    await desk.until(lambda found: found and len(found[0].tries) == 1)
    await desk.ledger.run(remove_endpoint(OWNER, endpoint))
    (delivery,) = await desk.until(lambda found: found[0].next_ms is None)
    assert (delivery.status, orjson.loads(delivery.tries[-1])["error"]) == ("failed", "endpoint-deleted")


async def test_what_happens_while_an_endpoint_is_disabled_is_kept_and_not_sent(desk: Any, hooks: Any) -> None:
    endpoint = await desk.endpoint(hooks.url())
    await desk.ledger.run(disable_endpoint(OWNER, endpoint, "for the test"))
    desk.courier()
    desk.job()
    (delivery,) = await desk.until(lambda found: found)
    assert (delivery.status, delivery.next_ms) == ("failed", None)
    assert orjson.loads(delivery.tries[0])["error"].startswith("endpoint-disabled")
    assert hooks.received == []


async def test_nothing_is_left_in_the_outboxes(desk: Any, hooks: Any) -> None:
    desk.courier()
    for _ in range(30):
        desk.job(hooks.url())
    await hooks.until(lambda: len(hooks.received) == 30)
    await desk.until(lambda found: all(one.status == "delivered" for one in found))
    assert desk.clock.run(outbox_length(QUEUE)) == 0


async def test_two_couriers_share_the_work_and_send_nothing_twice(desk: Any, hooks: Any) -> None:
    desk.courier()
    desk.courier()
    for _ in range(200):
        desk.job(hooks.url())
    await hooks.until(lambda: len(hooks.received) >= 200)
    await desk.until(lambda found: all(one.status == "delivered" for one in found))
    assert len({one.id for one in hooks.received}) == len(hooks.received) == 200
