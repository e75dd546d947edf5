"""What the ledger knows, read when ``/metrics`` is scraped: the same at every gateway.

Collectors run in the scrape's thread and ask on the gateway's loop; one round trip each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from callboard_gateway.job_metrics import job_families
from callboard_gateway.metric_table import counter, gauge
from callboard_gateway.worker_metrics import worker_families
from callboard_shared.errors import LedgerError
from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import AsyncLedger, Call, QueueStats, deliveries, metering, outbox, upkeep, verbs
from callboard_shared.ledger.deliveries import DeliveryFigures
from callboard_shared.webhooks import OUTBOXES

SCRAPE_TIMEOUT_S = 5
_GAUGES: tuple[tuple[str, Callable[[QueueStats], float]], ...] = (
    ("callboard_queue_ready", lambda s: s.ready),
    ("callboard_queue_running", lambda s: s.running),
    ("callboard_queue_scheduled", lambda s: s.scheduled),
    ("callboard_queue_blocked", lambda s: s.blocked),
    ("callboard_queue_workers", lambda s: s.workers),
    ("callboard_queue_slots", lambda s: s.slots),
    ("callboard_queue_oldest_wait_seconds", lambda s: s.oldest_wait_ms / 1000),
    ("callboard_queue_paused", lambda s: int(s.paused)),
)
_OUTCOMES = ("delivered", "failed", "exhausted", "retried", "skipped")


class LedgerCollector(Collector):
    """Asks the ledger from the scrape's thread."""

    def __init__(self, ledger: AsyncLedger, loop: asyncio.AbstractEventLoop) -> None:
        self._ledger, self._loop = ledger, loop

    def describe(self) -> Iterable[Metric]:
        return ()

    def _answers(self, calls: Sequence[Call[Any]]) -> list[Any] | None:
        """None while the ledger is away."""
        asking = asyncio.run_coroutine_threadsafe(self._ledger.run_many(calls), self._loop)
        try:
            replies = asking.result(SCRAPE_TIMEOUT_S)
        except (LedgerError, FutureTimeoutError):
            return None
        return None if any(isinstance(reply, LedgerError) for reply in replies) else replies


class QueueCollector(LedgerCollector):
    """What queues hold, what became of their jobs, and their workers."""

    def collect(self) -> Iterator[Metric]:
        calls: list[Call[Any]] = []
        for queue in QUEUES:
            calls += (verbs.queue_stats(queue), metering.meters(queue), verbs.workers(queue))
        answers = self._answers(calls)
        up = gauge("callboard_ledger_up")
        up.add_metric([], int(answers is not None))
        yield up
        if answers is None:
            return
        stats: list[QueueStats] = answers[::3]
        for name, value in _GAUGES:
            family = gauge(name)
            for one in stats:
                family.add_metric([one.name], value(one))
            yield family
        stale = counter("callboard_queue_stale_commits")
        for one in stats:
            stale.add_metric([one.name], one.stale_commits)
        yield stale
        yield from job_families(dict(zip(QUEUES, answers[1::3], strict=True)))
        yield from worker_families([worker for found in answers[2::3] for worker in found], time.time())


class WebhookCollector(LedgerCollector):
    """What the couriers have done, and what waits for them."""

    def collect(self) -> Iterator[Metric]:
        calls: list[Call[Any]] = [deliveries.figures(), upkeep.ledger_time()]
        for queue in OUTBOXES:
            calls += (outbox.outbox_length(queue), outbox.oldest_row_ms(queue))
        answers = self._answers(calls)
        if answers is None:
            return  # the queues' collector says that the ledger is away
        figures: DeliveryFigures = answers[0]
        outcomes = counter("callboard_webhook_deliveries")
        for outcome in _OUTCOMES:
            outcomes.add_metric([outcome], figures.counters.get(outcome, 0))
        yield outcomes
        tries, waiting = gauge("callboard_webhook_tries"), gauge("callboard_webhook_destinations_waiting")
        tries.add_metric([], figures.flying)
        waiting.add_metric([], figures.lanes)
        yield from (tries, waiting)
        yield from _outboxes(answers[1], answers[2:])


def _outboxes(now_ms: int, answers: Sequence[int | None]) -> Iterator[Metric]:
    length, lag = gauge("callboard_outbox_rows"), gauge("callboard_outbox_oldest_seconds")
    for queue, count, oldest_ms in zip(OUTBOXES, answers[::2], answers[1::2], strict=True):
        length.add_metric([queue], count or 0)
        lag.add_metric([queue], 0 if oldest_ms is None else max(0, now_ms - oldest_ms) / 1000)
    yield from (length, lag)
