"""Couriers are killed while they post, also right after a 2xx; receivers fail in every way."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable

from evidence import Post, ended, enter, posts
from scale import dice, pick
from submitting import ENDS, Accepted, Order
from webhook_receiver import silence, status
from yard import COURIERS_ONLY, Plan, Yard, until

QUICK = {"CALLBOARD_WEBHOOK_TIMEOUT_S": "1"}
TOLERANCE = 0.1


def told_of(number: int, url: str) -> Order:
    return {
        "type": "nlp.embed", "input": {"texts": [f"text {number}"]}, "webhook": {"url": url, "events": ENDS},
    }  # fmt: skip


def test_a_courier_that_dies_after_a_2xx_posts_once_more_under_the_same_id(
    yard_of: Callable[[Plan], Yard],
) -> None:
    kills = pick(3, 10)
    yard = yard_of(Plan(f"{COURIERS_ONLY},courier=1", errands=1, env=QUICK))
    accepted = Accepted()
    for number in range(kills):
        path = f"/{number}"

        async def answer_and_kill(writer: asyncio.StreamWriter) -> None:
            pid = yard.pid("courier")
            assert pid is not None
            yard.signal("courier", signal.SIGSTOP)  # so that it has the answer, and cannot write it down
            await status(204)(writer)
            await writer.drain()
            yard.signal("courier", signal.SIGKILL)

        yard.receiver.answers[path] = [answer_and_kill, status(204)]
        job = accepted.submit(yard.callboard, told_of(number, yard.receiver.url(path)))
        until(lambda path=path: len(yard.receiver.at(path)) == 2, 60, f"{job} is told of once more")
        yard.await_online(["courier"])
    until(lambda: yard.redis.zcard("cb:{hooks}:held") == 0, 30, "nothing is under way")
    seen, _ = enter(yard, "courier killed right after a 2xx", kills, accepted,
                    also=f"{len(posts(yard)) - kills} posts again for {kills} jobs, same webhook-id")  # fmt: skip
    assert max(Counter(post.job for post in seen.posts).values()) == 2


def test_every_webhook_arrives_under_one_id_when_couriers_are_killed(yard_of: Callable[[Plan], Yard]) -> None:
    kills, jobs = pick((4, 300), (30, 3_000))
    chance = dice("couriers")
    yard = yard_of(Plan(f"{COURIERS_ONLY},courier=2", errands=1, env=QUICK))
    accepted = Accepted()

    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)  # there is always something under way
        await status(204)(writer)

    yard.receiver.answers["/hook"] = [slow]
    for turn in range(kills):
        before = len(yard.receiver.received)
        for number in range(jobs // kills):
            accepted.submit(yard.callboard, told_of(turn * jobs + number, yard.receiver.url()))
        until(lambda before=before: len(yard.receiver.received) > before, 60, "they are being posted")
        time.sleep(chance.uniform(0, 0.1))  # the moment is what is random
        yard.kill(chance.choice(yard.names("courier")))
    seen, _ = enter(yard, "couriers killed while they post", kills, accepted, within_s=90)
    again = sum(1 for count in Counter(post.job for post in seen.posts).values() if count > 1)
    assert again <= kills * 256  # what one courier has under way


def test_receivers_that_fail_are_tried_again_on_schedule(yard_of: Callable[[Plan], Yard]) -> None:
    each = pick(3, 20)
    yard = yard_of(Plan(errands=1, env=QUICK))
    accepted = Accepted()
    ways = {
        "/500": (status(500), 5.0), "/timeout": (silence, 5.0 + 1.0), "/429": (status(429, retry_after="7"), 7.0),
    }  # fmt: skip
    for number in range(each):
        for path, (answer, _) in ways.items():
            own = f"{path}/{number}"
            yard.receiver.answers[own] = [answer, status(204)]
            accepted.submit(yard.callboard, told_of(number, yard.receiver.url(own)))
    gaps: dict[str, list[float]] = {path: [] for path in ways}
    for path, wait in gaps.items():
        for number in range(each):
            until(
                lambda own=f"{path}/{number}": len(yard.receiver.at(own)) == 2, 30, f"{path} is tried again"
            )
            tries = [one.at for one in yard.receiver.at(f"{path}/{number}")]
            wait.append(tries[1] - tries[0])
    ended(yard, accepted.ids, 20)
    gone = yard.callboard.webhooks.create(yard.receiver.url("/410"), events=["job.succeeded"])
    yard.receiver.answers["/410"] = [status(410)]
    first = accepted.submit(yard.callboard, {"type": "nlp.embed", "input": {"texts": ["gone"]}})
    until(lambda: yard.receiver.at("/410"), 20, "the one that is gone is told")
    until(lambda: not yard.callboard.webhooks.get(gone.id).enabled, 20, "it is disabled")
    after = len(yard.receiver.at("/410"))
    accepted.submit(yard.callboard, {"type": "nlp.embed", "input": {"texts": ["after"]}})
    ended(yard, accepted.ids, 20)
    told_410 = {Post(one.json["data"]["id"], one.id, one.json["type"]) for one in yard.receiver.at("/410")}
    accepted.hooked |= {post.job for post in told_410}
    enter(yard, "receivers: 500, timeout, 429, 410", len(accepted.ids), accepted,
          also="; ".join(f"{path[1:]} again after {min(wait):.1f}–{max(wait):.1f} s" for path, wait in gaps.items())
          + "; 410 disables")  # fmt: skip
    assert len(yard.receiver.at("/410")) == after and first in {post.job for post in told_410}
    for path, (_, expected) in ways.items():
        for gap in gaps[path]:
            assert expected * (1 - TOLERANCE) <= gap <= expected * (1 + TOLERANCE) + 0.5, (path, gap)
