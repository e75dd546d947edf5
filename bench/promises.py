"""Row group o: what a submission costs whose 202 waits for the ledger's disk, for a replica, or for both."""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import redis

from bench.load import singly
from bench.report import Row, beside, plain
from bench.scale import Scale
from bench.stack import ECHO_ONLY, Measured, stack
from bench.valkey import valkey

GROUP = "o. system.echo: what a 202 waits for"
JOB = {"type": "system.echo", "input": {"value": 1}}
CONNECTIONS = 32
WAITS: Mapping[str, Mapping[str, str]] = {
    "the ledger": {},
    "its disk": {"CALLBOARD_SUBMIT_FSYNC": "true"},
    "a replica": {"CALLBOARD_SUBMIT_REPLICAS": "1"},
    "both": {"CALLBOARD_SUBMIT_FSYNC": "true", "CALLBOARD_SUBMIT_REPLICAS": "1"},
}
"""All four with a replica beside them, so that they pay alike for feeding it."""


def rows(scale: Scale) -> Iterator[Row]:
    """Milliseconds to a 202 on an idle system, and jobs a second over 32 connections."""
    took: dict[str, list[float]] = defaultdict(list)
    rates: dict[str, list[float]] = defaultdict(list)
    for _ in range(scale.rounds):
        for name, settings in WAITS.items():
            with stack(ECHO_ONLY, settings) as running, _replica(running.redis_url):
                took[name].append(statistics.median(_latencies(running, scale.idle_requests)))
                rates[name].append(singly(running, [JOB], scale.single_jobs // 2, CONNECTIONS).accepted)
    first = next(iter(WAITS))
    yield plain(GROUP, f"202 after {first}, p50", took[first], "ms")
    for name in list(WAITS)[1:]:
        yield beside(GROUP, f"202 after {name}, p50", took[name], "ms", statistics.median(took[first]))
    yield plain(GROUP, f"accepted after {first}", rates[first], "/s")
    for name in list(WAITS)[1:]:
        yield beside(GROUP, f"accepted after {name}", rates[name], "/s", statistics.median(rates[first]))


@contextmanager
def _replica(of: str) -> Iterator[None]:
    primary = urlsplit(of)
    with valkey() as url, redis.Redis.from_url(f"{url}/0") as replica, redis.Redis.from_url(of) as client:
        client.config_set("repl-diskless-sync-delay", 0)
        replica.config_set("primaryauth", primary.password or "")
        replica.replicaof("127.0.0.1", str(primary.port))
        client.set("followed", 1)
        if client.wait(1, 4_000) != 1:
            raise TimeoutError("the replica does not follow")
        yield


def _latencies(running: Measured, count: int) -> list[float]:
    found = []
    with running.wire() as connection:
        request = connection.prepared("POST", "/v1/jobs", json.dumps(JOB).encode())
        for _ in range(count + 20):
            start = time.perf_counter()
            answer = connection.exchange(request)
            found.append((time.perf_counter() - start) * 1e3)
            if answer.status != 202:
                raise RuntimeError(f"answered {answer.status}: {answer.body[:300]!r}")
            time.sleep(0.01)
    return found[20:]
