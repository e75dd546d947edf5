"""The gateway is killed: between the ledger's write and the bell, and at random under load."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from evidence import enter, now_ms, ran_at_ms, running
from scale import dice, pick
from submitting import Accepted, errand, load, mixed
from wire_cutter import Fault
from yard import Plan, Yard, until

from callboard_shared.ledger import verbs

START_S = 3.0


class Bells:
    """Holds every bell that the gateway rings, and says so: it was about to ring, and never did."""

    def __init__(self) -> None:
        self.held = threading.Event()

    def __call__(self, chunk: bytes) -> Fault | None:
        if b"LPUSH" not in chunk:
            return None
        self.held.set()
        return Fault("late", pause_s=3600)


def test_a_job_starts_although_the_gateway_died_before_it_rang(yard_of: Callable[[Plan], Yard]) -> None:
    yard = yard_of(Plan(errands=1, reach={"gateway": {"CALLBOARD_BROKER_URL": "bells"}}))
    accepted, waits = Accepted(), []
    for _ in range(pick(2, 10)):
        until(lambda: not yard.ledger.run(verbs.runners("nlp")), 20, "everybody is idle")
        bells = yard.cutters["bells"].spoil = Bells()
        client = threading.Thread(target=accepted.submit, args=(yard.callboard, errand("nothing")))
        client.start()
        assert bells.held.wait(20), "no bell was rung"
        at_ms = now_ms()
        yard.kill("gateway")
        yard.cutters["bells"].spoil = None
        client.join(60)  # it asks again until it has its 202
        running(yard, accepted.ids[-1])
        waits.append((ran_at_ms(yard, accepted.ids[-1]) - at_ms) / 1000)
    enter(yard, "gateway SIGKILL between ledger write and bell", len(waits), accepted, waits=waits,
          also=f"starts within {START_S:g} s")  # fmt: skip
    assert max(waits) <= START_S


def test_submissions_survive_gateways_that_are_killed_at_random(yard_of: Callable[[Plan], Yard]) -> None:
    yard, chance, kills = yard_of(Plan(errands=2)), dice("gateway"), pick(3, 15)
    with load(yard.callboard, mixed(chance, yard.receiver.url()), 40) as accepted:
        for _ in range(kills):
            time.sleep(chance.uniform(0.5, 2.0))  # the moment is what is random
            yard.kill("gateway")
            until(yard.is_ready, 30, "the gateway is back")
    enter(yard, "gateway SIGKILL at random under load", kills, accepted,
          also="each submission repeated under its Idempotency-Key made one job")  # fmt: skip
    assert not accepted.errors
