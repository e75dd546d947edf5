"""What became of jobs, from the counters that lie with them in the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily, Metric

from callboard_gateway.metric_table import counter, histogram
from callboard_shared.jobs import CATALOGUE
from callboard_shared.ledger.metering import BOUNDS, Distribution, Meters

_MS = 1000.0
_COUNTERS = (("celery_task_sent", "sent"), ("celery_task_retried", "retried"))
_REASONS = ("canceled", "expired")
_TYPES = [(job_type.queue, job_type.name) for job_type in CATALOGUE]
"""Each has its series from the beginning, at zero: a rate misses the first event of a series that comes with it."""


def job_families(meters: Mapping[str, Meters]) -> Iterator[Metric]:
    """``meters``: by queue."""
    yield from _counts(meters)
    yield from _outcomes(meters)
    runtime, wait, batch = (
        histogram(name)
        for name in ("celery_task_runtime", "callboard_job_wait_seconds", "callboard_batch_jobs")
    )
    started = counter("celery_task_started")
    for queue, job_type in _TYPES:
        found = {what: _of(meters[queue], what, job_type) for what in ("run", "wait", "batch")}
        started.add_metric([job_type, queue], sum(found["wait"].buckets))
        _add(runtime, [job_type, queue], "run", found["run"], _MS)
        _add(wait, [queue, job_type], "wait", found["wait"], _MS)
        _add(batch, [queue, job_type], "batch", found["batch"])
    yield from (started, runtime, wait, batch)
    yield from _of_workers(meters)


def _counts(meters: Mapping[str, Meters]) -> Iterator[Metric]:
    for name, what in _COUNTERS:
        family = counter(name)
        for queue, job_type in _TYPES:
            family.add_metric([job_type, queue], meters[queue].counters.get(what, {}).get((job_type,), 0))
        yield family
    lapsed = counter("callboard_lease_losses")
    for queue, job_type in _TYPES:
        lapsed.add_metric([queue, job_type], meters[queue].counters.get("lapsed", {}).get((job_type,), 0))
    yield lapsed


def _outcomes(meters: Mapping[str, Meters]) -> Iterator[Metric]:
    succeeded, failed = counter("celery_task_succeeded"), counter("celery_task_failed")
    revoked = counter("celery_task_revoked")
    for queue, job_type in _TYPES:
        ended = meters[queue].counters.get("ended", {})
        succeeded.add_metric([job_type, queue], ended.get((job_type, "succeeded"), 0))
        failed.add_metric([job_type, queue], ended.get((job_type, "failed"), 0))
        for reason in _REASONS:
            revoked.add_metric([job_type, queue, reason], ended.get((job_type, reason), 0))
    yield from (succeeded, failed, revoked)


def _of_workers(meters: Mapping[str, Meters]) -> Iterator[Metric]:
    for name, what in (
        ("callboard_provider_request_seconds", "provider"),
        ("callboard_model_load_seconds", "load"),
    ):
        family = histogram(name)
        for labels, found in sorted(_over_queues(meters, what).items()):
            _add(family, list(labels), what, found, _MS)
        yield family


def _over_queues(meters: Mapping[str, Meters], what: str) -> dict[tuple[str, ...], Distribution]:
    """A worker's own counters go with whichever queue's job ends next, so the queue says nothing."""
    total: dict[tuple[str, ...], Distribution] = {}
    for one in meters.values():
        for labels, found in one.histograms.get(what, {}).items():
            known = total.setdefault(labels, Distribution([0] * len(found.buckets)))
            known.buckets = [a + b for a, b in zip(known.buckets, found.buckets, strict=True)]
            known.sum += found.sum
    return total


def _of(meters: Meters, what: str, job_type: str) -> Distribution:
    none = Distribution([0] * (len(BOUNDS[what]) + 1))
    return meters.histograms.get(what, {}).get((job_type,), none)


def _add(
    family: HistogramMetricFamily, labels: list[str], what: str, found: Distribution, unit: float = 1.0
) -> None:
    bounds = [*(f"{bound / unit:g}" for bound in BOUNDS[what]), "+Inf"]
    buckets = list(zip(bounds, map(float, accumulate(found.buckets)), strict=True))
    family.add_metric(labels, buckets, found.sum / unit)
