"""The simulation of `make simulate` against the real stack, with the same arrivals and the same service times."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from evidence import ended, records
from scale import pick
from yard import COURIERS_ONLY, Plan, Yard

sys.path.insert(0, str(Path(__file__).parents[2] / "deploy"))

from simulate import poisson, quantile, simulate

SLOTS, RATE, SERVICE_S = 4, 7.0, 0.5


def test_jobs_wait_as_long_as_the_simulation_says(yard_of: Callable[[Plan], Yard]) -> None:
    yard = yard_of(Plan(f"{COURIERS_ONLY},courier=1", env={"CALLBOARD_COURIER_SLOTS": str(SLOTS)}))
    chance, count = random.Random(5), pick(150, 1_500)
    arrivals = poisson(chance, RATE, count)
    services = [min(2.0, chance.expovariate(1 / SERVICE_S)) for _ in range(count)]
    began, ids = time.monotonic(), []
    for at, service in zip(arrivals, services, strict=True):
        time.sleep(max(0.0, began + at - time.monotonic()))  # the arrivals are what is tried
        ids.append(yard.callboard.submit("system.echo", {"value": 1, "sleep_ms": int(service * 1000)}).id)
    ended(yard, ids, 60)
    kept = records(yard, ids)
    waits = [((job.started_ms or 0) - job.created_ms) / 1000 for job in kept]
    came = [(job.created_ms - kept[0].created_ms) / 1000 for job in kept]
    said = simulate(came, services, SLOTS)
    shares = (0.5, 0.9, 0.99)
    pairs = [(quantile(said.waits_s, share), quantile(waits, share)) for share in shares]
    print(
        "wait, simulated and real: "
        + ", ".join(
            f"p{share * 100:g} {a:.2f} / {b:.2f} s" for share, (a, b) in zip(shares, pairs, strict=True)
        )
    )
    for simulated, real in pairs:
        assert real == pytest.approx(simulated, rel=0.25, abs=0.25)
