"""What fails is tried again on schedule; what is gone is not; and a courier that dies loses nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from builders import QUEUE
from clocked import START_MS
from webhook_receiver import endless_body, hang_up, silence, slow_head, status

from callboard_courier.delivery.schedule import JITTER, SCHEDULE_S
from callboard_shared.ledger import outbox
from callboard_shared.ledger.deliveries import (
    Bounds,
    Breaker,
    Tried,
    collect,
    forget,
    post,
    record,
    recover,
    to_url,
)
from callboard_shared.ledger.endpoints import enable_endpoint, list_endpoints

OWNER = "key_ann"


def accounts(delivery: Any) -> list[dict[str, Any]]:
    return [orjson.loads(one) for one in delivery.tries]


def die_with(courier: Any) -> Any:
    """An answer that is never recorded: the courier is gone when it comes."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        courier.cancel()
        await asyncio.wait([courier])
        await status(200)(writer)

    return answer


async def one_more_try(desk: Any, tries: int) -> Any:
    """Move the clock to the next time, and await the try."""
    (delivery,) = await desk.deliveries()
    await desk.pass_time((delivery.next_ms - desk.clock.now_ms) / 1000 + 0.001)
    (delivery,) = await desk.until(lambda found: len(found[0].tries) == tries)
    return delivery


async def test_a_failing_receiver_is_tried_on_schedule_ten_times_and_given_up(desk: Any, hooks: Any) -> None:
    hooks.answers["/hook"] = [status(500, b"out of order")]
    desk.courier()
    desk.job(hooks.url())
    (delivery,) = await desk.until(lambda found: found and len(found[0].tries) == 1)
    for tries in range(2, 11):
        assert (delivery.status, accounts(delivery)[-1]["status_code"]) == ("failed", 500)
        waits_s = (delivery.next_ms - desk.clock.now_ms) / 1000
        assert waits_s == pytest.approx(SCHEDULE_S[tries - 1], rel=JITTER + 0.001)
        delivery = await one_more_try(desk, tries)
    assert (delivery.status, delivery.next_ms) == ("exhausted", None)
    assert [one["response"] for one in accounts(delivery)] == ["out of order"] * 10
    assert len({one.id for one in hooks.received}) == 1 and len(hooks.received) == 10
    stamps = [int(one.headers["webhook-timestamp"]) for one in hooks.received]
    assert stamps[0] == pytest.approx(START_MS // 1000, abs=1) and stamps == sorted(set(stamps))


async def test_what_fails_once_is_delivered_at_the_second_try(desk: Any, hooks: Any) -> None:
    hooks.answers["/hook"] = [status(503), status(200)]
    desk.courier()
    desk.job(hooks.url())
    await desk.until(lambda found: found and len(found[0].tries) == 1)
    delivery = await one_more_try(desk, 2)
    assert [one["status_code"] for one in accounts(delivery)] == [503, 200]
    assert (delivery.status, delivery.next_ms) == ("delivered", None)


@pytest.mark.parametrize(
    ("answer", "code", "error"),
    [
        (status(301, location="http://127.0.0.1:1/"), 301, "redirect"),
        (status(404), 404, None),
        (hang_up, None, "disconnected"),
        (silence, None, "timeout"),
        (slow_head, None, "timeout"),
    ],
)  # fmt: skip
async def test_each_way_to_fail_is_told(desk: Any, hooks: Any, answer: Any, code: Any, error: Any) -> None:
    hooks.answers["/hook"] = [answer]
    desk.courier(webhook_timeout_s=0.4)
    desk.job(hooks.url())
    (delivery,) = await desk.until(lambda found: found and found[0].tries)
    (account,) = accounts(delivery)
    assert (delivery.status, account["status_code"]) == ("failed", code)
    assert account["error"] is None if error is None else account["error"].startswith(f"{error}: ")
    assert len(hooks.received) == 1  # no redirect was followed


async def test_a_refused_connection_is_told(desk: Any, unused_tcp_port: int) -> None:
    desk.courier()
    desk.job(f"http://127.0.0.1:{unused_tcp_port}/hook")
    (delivery,) = await desk.until(lambda found: found and found[0].tries)
    assert accounts(delivery)[0]["error"].startswith("not-connected: ")
    assert delivery.next_ms - desk.clock.now_ms == pytest.approx(5_000, rel=JITTER)


async def test_an_answer_whose_body_does_not_end_is_success_by_its_status(desk: Any, hooks: Any) -> None:
    hooks.answers["/hook"] = [endless_body]
    desk.courier()
    desk.job(hooks.url())
    (delivery,) = await desk.until(lambda found: found and found[0].status == "delivered")
    assert 0 < len(accounts(delivery)[0]["response"]) <= 1000


async def test_a_receiver_that_asks_to_wait_is_waited_for(desk: Any, hooks: Any) -> None:
    hooks.answers["/hook"] = [status(429, retry_after="90"), status(204)]
    desk.courier()
    desk.job(hooks.url())
    (delivery,) = await desk.until(lambda found: found and found[0].tries)
    assert delivery.next_ms - desk.clock.now_ms == 90_000
    await desk.pass_time(60)
    await desk.until(lambda found: True)
    assert len(hooks.received) == 1
    await desk.pass_time(31)
    await hooks.until(lambda: len(hooks.received) == 2)


async def test_410_disables_the_endpoint_and_says_so(desk: Any, hooks: Any) -> None:
    hooks.answers["/hook"] = [status(410)]
    endpoint = await desk.endpoint(hooks.url())
    desk.courier()
    desk.job()
    (delivery,) = await desk.until(lambda found: found and found[0].tries)
    assert (delivery.status, delivery.next_ms) == ("failed", None)
    found = (await desk.ledger.run(list_endpoints(OWNER))).find(endpoint)
    assert (found.enabled, found.disabled_reason) == (False, "It answered 410 Gone.")
    desk.job()
    await desk.until(lambda found: len(found) == 2 and found[1].status == "failed")
    assert len(hooks.received) == 1


async def test_five_days_of_nothing_but_failures_disable_an_endpoint(desk: Any, hooks: Any) -> None:
    hooks.answers["/hook"] = [status(500)]
    endpoint = await desk.endpoint(hooks.url())
    desk.courier()
    for day in range(5):
        assert (await desk.ledger.run(list_endpoints(OWNER))).find(endpoint).enabled, f"day {day}"
        known = len(await desk.deliveries())
        desk.job()
        await desk.until(lambda found, known=known: len(found) == known + 1 and found[-1].tries)
        await desk.pass_time(86_400)
        await desk.until(
            lambda found: all(one.next_ms is None or one.next_ms > desk.clock.now_ms for one in found)
        )
    found = (await desk.ledger.run(list_endpoints(OWNER))).find(endpoint)
    assert found.disabled_reason == "Nothing but failures for 5 days."
    assert all(
        one.next_ms is None for one in await desk.until(lambda found: not any(o.next_ms for o in found))
    )


async def test_a_success_within_the_five_days_keeps_it_enabled(desk: Any, hooks: Any) -> None:
    endpoint = await desk.endpoint(hooks.url())
    desk.courier()
    for day in range(8):
        hooks.answers["/hook"] = [status(204 if day == 3 else 500)]
        known = len(await desk.deliveries())
        desk.job()
        await desk.until(lambda found, known=known: len(found) == known + 1 and found[-1].tries)
        await desk.pass_time(86_400)
        await desk.until(
            lambda found: all(one.next_ms is None or one.next_ms > desk.clock.now_ms for one in found)
        )
    assert (await desk.ledger.run(list_endpoints(OWNER))).find(endpoint).enabled


async def test_the_circuit_of_a_destination_that_only_fails_opens_and_a_probe_closes_it(
    desk: Any, hooks: Any
) -> None:
    hooks.answers["/hook"] = [status(500)]
    desk.courier()
    for _ in range(12):
        desk.job(hooks.url())
    await desk.until(lambda found: len(found) == 12 and all(len(one.tries) == 1 for one in found))
    await desk.pass_time(6)  # the second tries: the circuit is not old enough to open
    await desk.until(lambda found: all(len(one.tries) == 2 for one in found))
    assert len(hooks.received) == 24
    await desk.pass_time(330)  # one of the third tries opens it; the others go on to their next time
    found = await desk.until(lambda found: all(len(one.tries) == 3 for one in found))
    skipped = [one for one in found if (accounts(one)[-1]["error"] or "").startswith("circuit-open")]
    assert len(skipped) >= 9 and len(hooks.received) == 24 + 12 - len(skipped)
    waits = [(one.next_ms - desk.clock.now_ms) / 1000 for one in skipped]
    assert all(wait == pytest.approx(1_800, rel=JITTER + 0.001) for wait in waits)
    asked = len(hooks.received)
    hooks.answers["/hook"] = [status(204)]
    await desk.pass_time(2_000)  # the first that is due is the probe, and the rest follow it
    await desk.until(lambda found: all(one.status == "delivered" for one in found))
    assert len(hooks.received) == asked + 12


async def test_a_blocked_address_gets_no_packet(desk: Any, hooks: Any) -> None:
    """The operator does not allow loopback any more, since the job was submitted."""
    desk.courier(allow_private=False)
    desk.job(hooks.url())
    (delivery,) = await desk.until(lambda found: found and found[0].tries)
    (account,) = accounts(delivery)
    assert account["error"].startswith("url-blocked: ") and account["status_code"] is None
    assert (delivery.status, delivery.next_ms, hooks.connections) == ("failed", None, 0)


async def test_a_courier_that_dies_after_the_answer_sends_once_more_under_the_same_id(
    desk: Any, hooks: Any
) -> None:
    """It dies between a 2xx and the record of it: the claim lapses, and the next courier tries again."""
    first = desk.courier()
    hooks.answers["/hook"] = [die_with(first), status(204)]
    desk.job(hooks.url())
    await hooks.until(lambda: len(hooks.received) == 1)
    await asyncio.wait([first])
    desk.courier()
    await desk.pass_time(12)  # a claim lasts ten seconds longer than a try may
    (delivery,) = await desk.until(lambda found: found[0].status == "delivered")
    assert [one.id for one in hooks.received] == [delivery.message] * 2
    assert accounts(delivery)[0]["error"].startswith("courier-lost")


async def test_a_row_whose_courier_died_is_taken_over(desk: Any, hooks: Any) -> None:
    desk.job(hooks.url())
    assert len(desk.clock.run(outbox.take_rows(QUEUE, "courier-that-dies"))) == 1
    desk.courier()
    await desk.until(lambda found: found and found[0].status == "delivered", within_s=15)
    assert len(hooks.received) == 1


async def test_a_row_that_was_spread_and_not_struck_makes_no_second_delivery(desk: Any, hooks: Any) -> None:
    desk.job(hooks.url())
    before = desk.clock.redis.xrange("cb:{nlp}:outbox")
    desk.courier()
    await desk.until(lambda found: found and found[0].status == "delivered")
    for row_id, fields in before:  # as if the courier had died before it struck the row
        desk.clock.redis.delete("cb:{nlp}:outbox")
        desk.clock.redis.xadd("cb:{nlp}:outbox", fields, id=row_id)
    await desk.look()
    async with asyncio.timeout(5):
        while desk.clock.run(outbox.outbox_length(QUEUE)):
            await asyncio.sleep(0.01)
    assert len(hooks.received) == len(await desk.deliveries()) == 1


def test_a_lapsed_claim_is_taken_over_and_the_late_record_is_refused(desk: Any) -> None:
    desk.job("http://127.0.0.1:9/hook")
    (row,) = desk.clock.run(outbox.take_rows(QUEUE, "courier-1"))
    desk.clock.run(post([to_url(row)], "whsec_c2VjcmV0"))
    bounds = Bounds(per_lane=4, per_host=4, lease_ms=25_000, last_step=9)
    (first,) = desk.clock.run(collect(10, bounds)).due
    assert desk.clock.run(collect(10, bounds)).due == []
    desk.clock.pass_time(25_001)
    (again,) = desk.clock.run(collect(10, bounds)).due
    assert (again.id, again.message, again.attempt) == (first.id, first.message, 2)
    late = Tried(first.id, first.attempt, "delivered", b"{}")
    assert desk.clock.run(record([late], Breaker())) == ["stale"]
    on_time = Tried(again.id, again.attempt, "delivered", b"{}")
    assert desk.clock.run(record([on_time, on_time], Breaker())) == ["recorded", "stale"]


async def test_a_courier_that_is_told_to_stop_finishes_what_it_sends_and_hands_back_the_rest(
    desk: Any, hooks: Any
) -> None:
    hooks.answers["/hook"] = [silence, status(204)]
    stopping = desk.courier(webhook_timeout_s=30)
    desk.job(hooks.url())
    await hooks.until(lambda: len(hooks.received) == 1)
    stopping.stop()
    await asyncio.wait_for(stopping, 5)
    desk.courier()
    (delivery,) = await desk.until(lambda found: found[0].status == "delivered")
    assert [one.id for one in hooks.received] == [delivery.message] * 2


async def test_failed_deliveries_are_recovered_once_the_endpoint_is_back(desk: Any, hooks: Any) -> None:
    hooks.answers["/hook"] = [status(410), status(204)]
    endpoint = await desk.endpoint(hooks.url())
    desk.courier()
    for _ in range(3):
        desk.job()
        await desk.until(lambda found: all(one.next_ms is None for one in found) and found)
    found = await desk.until(lambda found: len(found) == 3 and all(one.status == "failed" for one in found))
    ids = [one.id for one in found]
    assert set(await desk.ledger.run(recover(OWNER, ids))) == {"disabled"}
    await desk.ledger.run(enable_endpoint(OWNER, endpoint))
    assert await desk.ledger.run(recover(OWNER, [*ids, "whd_none"])) == ["again"] * 3 + ["missing"]
    await desk.until(lambda found: all(one.status == "delivered" for one in found))
    assert await desk.ledger.run(recover("key_bob", ids)) == ["missing"] * 3
    assert await desk.ledger.run(recover(OWNER, ids)) == ["ignored"] * 3
    assert await desk.ledger.run(recover(OWNER, ids[:1], whatever=True)) == ["again"]
    await hooks.until(lambda: len(hooks.received) == 5)
    assert hooks.received[-1].id == found[0].message


async def test_an_ended_delivery_is_forgotten_with_its_job_s_retention(desk: Any, hooks: Any) -> None:
    desk.courier()
    desk.job(hooks.url())
    await desk.until(lambda found: found and found[0].status == "delivered")
    desk.clock.pass_time(604_799_000)
    assert desk.clock.run(forget()) == 0
    desk.clock.pass_time(1_001)
    assert desk.clock.run(forget()) == 1
    assert await desk.deliveries() == []
    assert not desk.clock.redis.keys("cb:{hooks}:delivery:*")


async def test_what_cannot_be_told_waits_and_holds_up_nothing_else(desk: Any, hooks: Any) -> None:
    """A job of which no view can be made, and a thing that this courier does not know."""
    broken, strange, sound = desk.job(hooks.url("/a")), desk.job(hooks.url("/b")), desk.job(hooks.url("/c"))
    desk.clock.redis.set(f"cb:{{nlp}}:spec:{broken}", b"not json")
    rows = desk.clock.redis.xrange("cb:{nlp}:outbox")
    desk.clock.redis.delete("cb:{nlp}:outbox")
    for _, fields in rows:
        if fields[b"subject"].decode() == strange:
            fields[b"subject"] = b"thing_1"
        desk.clock.redis.xadd("cb:{nlp}:outbox", fields)
    desk.clock.redis.xadd("cb:{nlp}:outbox", {"event": "job.failed", "job": "of an older release"})
    desk.clock.redis.xadd("cb:{nlp}:outbox", {**rows[0][1], b"url": b"http://[::1/unreadable"})
    desk.courier()
    await hooks.until(lambda: [one.json["data"]["id"] for one in hooks.received] == [sound])
    found = await desk.until(lambda found: len(found) == 3 and all(one.tries for one in found))
    errors = {one.url[-1]: accounts(one)[0]["error"] for one in found}
    assert errors["a"].startswith("internal: ") and errors["b"].startswith("unknown-subject: ")
    assert errors["c"] is None


async def test_a_ledger_that_is_away_for_a_while_delays_and_loses_nothing(desk: Any, hooks: Any) -> None:
    desk.courier()
    for _ in range(20):
        desk.job(hooks.url())
    desk.clock.redis.client_pause(3_000)  # longer than anybody waits for an answer of the ledger
    await hooks.until(lambda: len(hooks.received) >= 20, within_s=15)
    await desk.until(lambda found: len(found) == 20 and all(one.status == "delivered" for one in found))
    assert {one.message for one in await desk.deliveries()} == {one.id for one in hooks.received}


async def test_what_breaks_and_should_not_ends_the_rounds_rather_than_a_part_of_them(desk: Any) -> None:
    """Whoever runs them begins anew."""
    desk.clock.redis.set("cb:{nlp}:outbox", b"no stream")
    courier = desk.courier()
    with pytest.raises(Exception, match="WRONGTYPE"):
        await asyncio.wait_for(asyncio.shield(courier), 5)
