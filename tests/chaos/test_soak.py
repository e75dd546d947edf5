"""Soak: mixed jobs of several keys, a kill every few seconds, and nothing that grows.

``CALLBOARD_SOAK_S``: seconds (300, or an hour at full scale); ``CALLBOARD_SOAK_PLOT``: where to draw it.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
from flatness import Tolerance, trend
from following_jobs import Followed, Follower
from sampling import Sampler, Series, footprint
from scale import dice, pick
from soak_plot import draw
from table import TABLE, Row
from yard import Plan, Yard

from callboard_client import NewJob

SOAK_S = float(os.environ.get("CALLBOARD_SOAK_S") or pick(300, 3600))
PLOT = os.environ.get("CALLBOARD_SOAK_PLOT")
WARM_UP_S = min(180.0, SOAK_S / 3)
"""Before it caches fill, models are loaded, and the first jobs have not been forgotten yet."""
RETENTION_S = 15
KEYS, RATE_PER_S = 4, 12
KEPT = ("gateway", "valkey", "courier", "nlp")
"""Never killed: what leaks shows in these."""
VICTIMS = ("courier-2", "courier-2", "nlp-2")
TOLERANCES = {
    "memory": Tolerance(0.1, 12),  # MB
    "handles": Tolerance(0.1, 10),
    "keys": Tolerance(0.15, 150),
    "ledger": Tolerance(0.15, 2),  # MB
    "p50": Tolerance(1.0, 50),  # ms
    "p99": Tolerance(
        1.0, 2_000
    ),  # ms: a killed worker's jobs take a lease and more, by chance in a window or not
}


def orders(chance: random.Random, hook: str) -> Iterator[NewJob]:
    """What many users would send: small and large, in batches and alone, some told of by webhook, some for later."""
    for number in itertools.count():
        drawn = chance.random()
        webhook = hook if number % 6 == 0 else None
        if drawn < 0.5:
            value = {"value": number, "sleep_ms": chance.randrange(200)}
            yield NewJob(
                type="system.echo", input=value, webhook=webhook, retention_s=RETENTION_S, max_attempts=20
            )
        elif drawn < 0.52:  # its output becomes a file
            value = {"value": "x" * 300_000}
            yield NewJob(type="system.echo", input=value, retention_s=RETENTION_S, max_attempts=20)
        elif drawn < 0.85:
            texts = [f"text {number} {i}" for i in range(chance.randrange(1, 6))]
            yield NewJob(
                type="nlp.embed",
                input={"texts": texts},
                webhook=webhook,
                retention_s=RETENTION_S,
                max_attempts=20,
            )
        else:
            value = {"query": f"query {number}", "candidates": ["one", "two"]}
            yield NewJob(type="nlp.similarity", input=value, retention_s=RETENTION_S, max_attempts=20)


class User(threading.Thread):
    """Submits with a key of its own. Not under Idempotency-Keys: those are kept for a day, and would be what grows."""

    def __init__(
        self, url: str, key: str, jobs: Iterator[NewJob], ids: list[str], stop: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=10)
        self._jobs, self._ids, self._stopping = jobs, ids, stop
        self.refused: list[str] = []

    def run(self) -> None:
        with self._http:
            while not self._stopping.wait(KEYS / RATE_PER_S):
                answer = self._http.post("/v1/jobs", json=next(self._jobs).body())
                if answer.status_code == 202:
                    self._ids.append(answer.json()["id"])
                else:
                    self.refused.append(answer.text)


def soak(yard: Yard, chance: random.Random) -> tuple[Series, Followed, int, list[str]]:
    """Users submit, members are killed, samples are taken; gives these, what became of the jobs, the kills, and what
    was refused."""
    ids: list[str] = []
    stop, kills = threading.Event(), 0
    follower = Follower(yard, ids)
    sampler = Sampler(lambda: footprint(yard, KEPT) | follower.followed.latencies(), pick(1.0, 2.0))
    users = []
    for number in range(KEYS):
        key = yard.callboard.keys.create(f"user {number}").key
        assert key is not None
        users.append(
            User(yard.url, key, orders(random.Random(chance.random()), yard.receiver.url()), ids, stop)
        )
    for thread in (*users, follower, sampler):
        thread.start()
    ends = time.monotonic() + SOAK_S
    while (left := ends - time.monotonic()) > 0:
        time.sleep(min(left, chance.uniform(2, 6)))  # the moment is what is random
        yard.kill(chance.choice(VICTIMS))
        kills += 1
    series = sampler.stop()
    stop.set()
    for user in users:
        user.join()
    return series, follower.finish(60), kills, [said for user in users for said in user.refused]


def test_nothing_grows_while_workers_are_killed_every_few_seconds(yard_of: Callable[[Plan], Yard]) -> None:
    yard = yard_of(Plan("nlp=2,courier=2,nlp-train=0,llm=0,vision=0,vision-train=0"))
    series, followed, kills, refused = soak(yard, dice("soak"))
    trends = {
        name: trend(*series.of(name, WARM_UP_S), TOLERANCES[name.partition(" ")[0]]) for name in series.values
    }
    memory = [f"{name} {trends[f'memory {name}'].growth:+.1f}" for name in KEPT]
    growth = f"growth in {(SOAK_S - WARM_UP_S) / 60:.0f} min: MB {', '.join(memory)}; keys {trends['keys'].growth:+.0f}"
    found = followed.found
    TABLE.append(
        Row(f"soak, {SOAK_S / 60:.0f} min", followed.jobs, kills, len(found.lost), len(found.doubled), [],
            f"{growth}; p50 {trends['p50'].typical:.0f} ms, p99 {trends['p99'].typical:.0f} ms")
    )  # fmt: skip
    if PLOT:
        caption = (
            f"{SOAK_S / 60:.0f} minutes: {followed.jobs:,} jobs of {KEYS} keys, {kills} kills of whole workers, "
            f"{len(found.lost)} lost, {len(found.doubled)} done twice"
        )
        draw(series, caption, Path(PLOT))
    assert not refused
    assert not found.faults
    assert set(followed.statuses) == {"succeeded"}
    assert {name: one for name, one in trends.items() if not one.is_flat} == {}
