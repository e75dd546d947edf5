"""Row group d: what the ledger costs by itself: memory of a waiting job, and verbs as the queue grows."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import redis
from pydantic import SecretStr

from bench.processes import wait_until
from bench.report import Row, at_most, plain
from bench.scale import Scale
from bench.valkey import valkey
from callboard_shared.ids import new_id
from callboard_shared.ledger import Ended, Ledger, NewJob, verbs
from callboard_shared.settings import LedgerSettings

GROUP = "d. the ledger alone"
QUEUE, TYPE, RUNNER = "nlp", "nlp.embed", "bench@here#1"
SPEC = json.dumps({"input": {"texts": ["A callboard shows the work that waits."]}, "metadata": {}}).encode()
OWNERS = [new_id("key") for _ in range(8)]
FILL, BATCH, SINGLES, BATCHES = 500, 64, 400, 40
LIMITS = {TYPE: (BATCH, 32_768)}
FLAT, BYTES = 1.5, 1024
MEMORY_AT = 100_000
REWRITE_S = 120.0


@dataclass
class Costs:
    """Microseconds a job at one depth."""

    submit: float
    claim: float
    submit_batch: float
    claim_batch: float


def rows(scale: Scale) -> Iterator[Row]:
    """Fill the queue to each depth in turn; at each, time verbs that leave the depth as it was."""
    costs: dict[int, Costs] = {}
    with valkey() as url, redis.Redis.from_url(url) as server:
        ledger = Ledger(LedgerSettings(redis_url=SecretStr(f"{url}/0"), redis_timeout_s=10))
        _through(ledger, 1, 2)  # the scripts are known from here on
        empty, waiting = _memory(server), 0
        for depth in scale.depths:
            _fill(ledger, depth - waiting)
            waiting = depth
            wait_until(lambda: not _rewriting(server), REWRITE_S, "append-only file rewritten", 0.1)
            if depth == MEMORY_AT:
                yield at_most(
                    GROUP,
                    f"memory of a waiting small job, at {depth:,}",
                    (_memory(server) - empty) / depth,
                    "B",
                    BYTES,
                )
            costs[depth] = _measure(ledger)
        ledger.close()
    yield from _by_depth(costs)


def _by_depth(costs: dict[int, Costs]) -> Iterator[Row]:
    first = min(costs)
    for verb, label in (
        ("submit", "submit, one a call"),
        ("claim", "claim, one a call"),
        ("submit_batch", f"submit, {BATCH} a call"),
        ("claim_batch", f"claim, {BATCH} a call"),
    ):
        base = getattr(costs[first], verb)
        yield plain(GROUP, f"{label}: a job at {first:,} waiting", [base], "µs")
        for depth in sorted(costs)[1:]:
            cost = getattr(costs[depth], verb)
            ratio = cost / base
            yield Row(
                GROUP,
                f"{label}: a job at {depth:,}",
                cost,
                "µs",
                ratio,
                f"≤ {FLAT:g} × at {first:,}",
                ratio <= FLAT,
            )


_turns = itertools.cycle(OWNERS)


def _new_jobs(count: int) -> list[NewJob]:
    owner = next(_turns)  # jobs of one call come from one API key
    return [
        NewJob(new_id("job"), TYPE, QUEUE, owner, SPEC, batch_key=f"{TYPE}|all-MiniLM-L6-v2", weight=38)
        for _ in range(count)
    ]


def _fill(ledger: Ledger, count: int) -> None:
    for at in range(0, count, FILL):
        ledger.run(verbs.submit(QUEUE, _new_jobs(min(FILL, count - at))))


def _memory(server: redis.Redis) -> int:
    return int(server.info("memory")["used_memory"])


def _rewriting(server: redis.Redis) -> bool:
    """Whether Valkey rewrites its append-only file: a fork, whose copies of pages are no cost of the verbs."""
    return bool(server.info("persistence")["aof_rewrite_in_progress"])


def _measure(ledger: Ledger) -> Costs:
    single_submit, single_claim = _through(ledger, 1, SINGLES)
    batch_submit, batch_claim = _through(ledger, BATCH, BATCHES)
    return Costs(single_submit, single_claim, batch_submit, batch_claim)


def _through(ledger: Ledger, size: int, calls: int) -> tuple[float, float]:
    """Submit, claim and finish ``size`` jobs, ``calls`` times: medians of submit and claim in µs a job."""
    submits, claims = [], []
    for _ in range(calls):
        jobs = _new_jobs(size)
        start = time.perf_counter()
        ledger.run(verbs.submit(QUEUE, jobs))
        submitted = time.perf_counter()
        taken = ledger.run(verbs.claim(QUEUE, RUNNER, limits=LIMITS, max_jobs=size, lease_ms=60_000)).jobs
        claims.append((time.perf_counter() - submitted) / size * 1e6)
        submits.append((submitted - start) / size * 1e6)
        if len(taken) != size:
            raise RuntimeError(f"claimed {len(taken)} of {size} jobs")
        ledger.run(
            verbs.finish(QUEUE, RUNNER, [Ended(job.id, job.attempt, "succeeded", b"{}") for job in taken], 1)
        )
    return statistics.median(submits), statistics.median(claims)
