"""Couriers, receivers and endpoints do what they like, in any order; no delivery is stuck, and no bound is passed."""

from __future__ import annotations

import random
from typing import Any

import pytest

from callboard_shared.ids import new_id
from callboard_shared.ledger import keys
from callboard_shared.ledger.deliveries import (
    Bounds,
    Breaker,
    Due,
    Tried,
    collect,
    get_delivery,
    post,
    record,
    recover,
    to_endpoint,
    to_url,
)
from callboard_shared.ledger.endpoints import (
    create_endpoint,
    disable_endpoint,
    enable_endpoint,
    remove_endpoint,
)
from callboard_shared.ledger.outbox import OutboxRow

OWNER = "key_ann"
BOUNDS = Bounds(per_lane=3, per_host=5, lease_ms=25_000, last_step=9)
OUTCOMES = ("delivered", "again", "again", "again", "exhausted", "failed", "released")


class World:
    def __init__(self, clock: Any, dice: random.Random) -> None:
        self.clock, self.dice = clock, dice
        self.hosts = ["https://one.example", "https://two.example"]
        self.endpoints: dict[str, str] = {}
        self.posted: dict[str, str] = {}  # id -> webhook-id
        self.flying: list[Due] = []
        self.seen: dict[str, int] = {}

    def add_endpoint(self) -> None:
        endpoint, url = new_id("whe"), f"{self.dice.choice(self.hosts)}/{len(self.endpoints)}"
        call = create_endpoint(
            OWNER, endpoint, url=url, events=(), description="", secret="whsec_eA==", most=100
        )
        if self.clock.run(call):
            self.endpoints[endpoint] = url

    def add_events(self) -> None:
        subject, made = new_id("job"), []
        for event in self.dice.choice([("job.failed",), ("job.running", "job.failed"), ("job.running",) * 2]):
            url = f"{self.dice.choice(self.hosts)}/own/{self.dice.randrange(3)}"
            row = OutboxRow(
                new_id("row"), "nlp", event, subject, OWNER, "nlp.embed", self.clock.now_ms, 1, 60_000, url
            )
            made += [to_url(row), *(to_endpoint(row, one, where) for one, where in self.endpoints.items())]
        self.clock.run(post(made, "whsec_eA=="))
        if self.dice.random() < 0.3:
            assert self.clock.run(post(made, "whsec_eA==")) == 0  # a courier that died and its successor
        self.posted |= {one.id: one.message for one in made}

    def collect(self) -> None:
        due = self.clock.run(collect(self.dice.randrange(1, 12), BOUNDS)).due
        for one in due:
            assert one.message == self.posted[one.id] and one.attempt == self.seen.get(one.id, 0) + 1
            self.seen[one.id] = one.attempt
        self.flying += due
        self.check_bounds()

    def check_bounds(self) -> None:
        for place, count in self.clock.redis.hgetall(keys.hook("flying")).items():
            assert 0 < int(count) <= (BOUNDS.per_host if place.startswith(b"@") else BOUNDS.per_lane), place

    def land(self) -> None:
        self.dice.shuffle(self.flying)
        some, self.flying = self.flying[:4], self.flying[4:]
        tried = [
            Tried(
                one.id, one.attempt, "skipped" if one.skip else self.dice.choice(OUTCOMES), b'{"at":1}',
                self.dice.choice((0, 5_000, 300_000)), "410" if self.dice.random() < 0.02 else "",
            )
            for one in some
        ]  # fmt: skip
        self.clock.run(record(tried, Breaker(failures=4, after_ms=10_000, open_ms=20_000)))
        if tried and self.dice.random() < 0.2:  # an answer that was lost on the way: said again
            assert set(self.clock.run(record(tried, Breaker()))) == {"stale"}

    def crash(self) -> None:
        self.flying = self.flying[len(self.flying) // 2 :]

    def meddle(self) -> None:
        if not self.endpoints:
            return
        endpoint = self.dice.choice(list(self.endpoints))
        act = self.dice.randrange(4)
        if act == 0:
            self.clock.run(disable_endpoint(OWNER, endpoint, "meddling"))
        elif act == 1:
            self.clock.run(enable_endpoint(OWNER, endpoint))
        elif act == 2 and self.dice.random() < 0.3:
            self.clock.run(remove_endpoint(OWNER, endpoint))
            del self.endpoints[endpoint]
        elif self.posted:
            some = self.dice.sample(list(self.posted), min(3, len(self.posted)))
            self.clock.run(recover(OWNER, some, whatever=self.dice.random() < 0.5))

    def pass_time(self) -> None:
        self.clock.pass_time(self.dice.choice((10, 1_000, 6_000, 26_000, 400_000)))

    def drain(self) -> None:
        """From here on everything is delivered; what crashed couriers held lapses."""
        self.flying.clear()
        for endpoint in self.endpoints:
            self.clock.run(enable_endpoint(OWNER, endpoint))
        for _ in range(400):
            collected = self.clock.run(collect(50, BOUNDS))
            done = [Tried(one.id, one.attempt, "skipped" if one.skip else "delivered", b'{"at":1}', 1_000)
                    for one in collected.due]  # fmt: skip
            if done:
                self.clock.run(record(done, Breaker()))
            elif not self.clock.redis.zcard(keys.hook("lanes")) and not self.clock.redis.zcard(
                keys.hook("held")
            ):
                return
            else:
                self.clock.pass_time(max(1, collected.next_ms))
        raise AssertionError("there is no end to it")


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_every_delivery_comes_to_an_end_and_nothing_is_left_over(
    desk: Any, seed: int
) -> None:
    dice = random.Random(seed)
    world = World(desk.clock, dice)
    acts = [
        world.add_endpoint,
        world.add_events,
        world.collect,
        world.land,
        world.crash,
        world.meddle,
        world.pass_time,
    ]
    for _ in range(250):
        dice.choices(acts, (2, 6, 12, 12, 1, 3, 5))[0]()
    world.drain()
    redis = desk.clock.redis
    for name in ("lanes", "held", "flying"):
        assert not redis.exists(keys.hook(name)), name
    for pattern in ("lane:*", "parked:*"):
        assert not redis.keys(keys.HOOKS + pattern), pattern
    for delivery_id in world.posted:
        delivery = desk.clock.run(get_delivery(OWNER, delivery_id))
        assert delivery is not None and delivery.next_ms is None
        assert delivery.status in ("delivered", "failed", "exhausted"), delivery
        assert redis.zscore(keys.hook("kept"), delivery_id)
