"""Row group n: a batch of 50,000 of the cheapest jobs: from the upload until all are accepted, and until its files are
there, while the same stack runs them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

from pydantic import SecretStr

from bench.processes import wait_until
from bench.report import Row, plain
from bench.scale import Scale
from bench.stack import ECHO_ONLY, Measured, stack
from callboard_client import Callboard
from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import Ledger, batching
from callboard_shared.ledger.batching import Tally
from callboard_shared.settings import LedgerSettings

GROUP = "n. a batch of system.echo, as a file"
MOST = batching.MOST_LINES
ACCEPTED_PER_S = 5_000.0
PATIENCE_S = 300.0


def rows(scale: Scale) -> Iterator[Row]:
    lines = min(MOST, scale.batch_jobs)
    accepted, ended = list[float](), list[float]()
    with stack(ECHO_ONLY) as measured:
        ledger = Ledger(LedgerSettings(redis_url=SecretStr(measured.redis_url), redis_timeout_s=10))
        for _ in range(scale.rounds):
            first, last = _run(measured, ledger, lines)
            accepted.append(lines / first)
            ended.append(lines / last)
        ledger.close()
    figure = statistics.median(accepted)
    what = f"{lines:,} lines, upload to all accepted"
    yield Row(
        GROUP,
        what,
        figure,
        "/s",
        None,
        f"≥ {ACCEPTED_PER_S:,.0f} /s",
        figure >= ACCEPTED_PER_S,
        runs=accepted,
    )
    yield plain(GROUP, f"{lines:,} lines, upload to the end, files written", ended, "/s")


def _run(measured: Measured, ledger: Ledger, lines: int) -> tuple[float, float]:
    """Seconds until all are accepted, and until the batch has ended."""
    jobs: list[dict[str, Any]] = [
        {"type": "system.echo", "input": {"value": n}, "custom_id": f"line-{n}"} for n in range(lines)
    ]
    with Callboard(measured.url, measured.key) as callboard:
        begun = time.perf_counter()
        batch = callboard.batches.create(jobs)
        wait_until(
            lambda: _tally(ledger, batch.id).submitted >= lines, PATIENCE_S, "all lines are accepted", 0.01
        )
        accepted = time.perf_counter() - begun
        ended = callboard.batches.wait(batch, PATIENCE_S)
        took = time.perf_counter() - begun
    if ended.counts.succeeded != lines:
        raise RuntimeError(f"of {lines} lines these succeeded: {ended.counts.succeeded}")
    return accepted, took


def _tally(ledger: Ledger, batch_id: str) -> Tally:
    return batching.summed(ledger.run_many(batching.tallies(batch_id, QUEUES)))
