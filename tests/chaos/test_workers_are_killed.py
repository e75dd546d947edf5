"""Worker trees are killed at random while jobs run, couriers among them: none is lost, none is committed twice."""

from __future__ import annotations

import time
from collections.abc import Callable

from evidence import Interrupted, enter, interrupted_by_kill
from scale import LEASE_S, dice, pick
from submitting import load, mixed
from table import quantile
from yard import COURIERS_ONLY, Plan, Yard


def test_no_job_is_lost_or_done_twice_when_worker_trees_are_killed(yard_of: Callable[[Plan], Yard]) -> None:
    kills, least = pick((8, 600), (50, 5_000))
    chance = dice("kills")
    yard = yard_of(Plan(f"{COURIERS_ONLY},courier=2", errands=3))
    members = yard.names("courier") + yard.names("errand")
    interrupted: list[Interrupted] = []
    with load(yard.callboard, mixed(chance, yard.receiver.url()), pick(60, 40), least=least) as accepted:
        for _ in range(kills):
            time.sleep(chance.uniform(0.3, 2.0))  # the moment is what is random
            victim = chance.choice(members)
            kind = victim.partition("-")[0]
            yard.await_online([name for name in yard.names(kind) if name != victim][:1])
            interrupted += interrupted_by_kill(yard, victim)
    _, waits = enter(yard, "SIGKILL of worker trees", kills, accepted, within_s=90, interrupted=interrupted,
                     also=f"runs again ≤ lease + 3 s = {LEASE_S + 3:g} s")  # fmt: skip
    assert quantile(waits, 0.99) <= LEASE_S + 3
