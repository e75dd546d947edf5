"""Every metric that a gateway shows, declared once: collectors make them from here, docs/observability.md lists them.

Names of celery-exporter (https://github.com/danihodovic/celery-exporter) stand where the same thing is meant, a job
being what Celery calls a task. No label tells a job, a key or a user.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily


@dataclass(frozen=True, slots=True)
class Declared:
    """``scope``: ``gateway`` for what one process counts; ``ledger`` for what every gateway shows alike."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    scope: Literal["gateway", "ledger"] = "ledger"

    @property
    def exposed(self) -> str:
        """The name as it stands in queries, but for a histogram's ``_bucket``, ``_sum`` and ``_count``."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def series(self) -> Iterator[str]:
        """The names of its series."""
        if self.kind == "histogram":
            yield from (f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        else:
            yield self.exposed


_TASK = ("name", "queue_name")
_JOB = ("queue", "type")
_WORKER = ("queue", "worker")
_GPU = ("host", "gpu")

METRICS = (
    Declared("callboard_http_requests", "counter", "Answers given", ("method", "route", "status"), "gateway"),
    Declared(
        "callboard_http_request_duration_seconds", "histogram",
        "From the request's head to the end of its answer", ("method", "route"), "gateway",
    ),
    Declared("callboard_streams_open", "gauge", "Event streams that are open", (), "gateway"),
    Declared("callboard_build_info", "gauge", "Always 1", ("version", "python"), "gateway"),
    Declared("callboard_ledger_up", "gauge", "1 if the ledger answered this scrape", (), "gateway"),
    # what queues hold
    Declared("callboard_queue_ready", "gauge", "Jobs that could start now", ("queue",)),
    Declared("callboard_queue_running", "gauge", "Jobs that run", ("queue",)),
    Declared("callboard_queue_scheduled", "gauge", "Jobs that wait for their time, or to be tried again", ("queue",)),
    Declared("callboard_queue_blocked", "gauge", "Jobs that wait for other jobs", ("queue",)),
    Declared("callboard_queue_workers", "gauge", "Workers online", ("queue",)),
    Declared("callboard_queue_slots", "gauge", "Jobs the workers online can run at once", ("queue",)),
    Declared("callboard_queue_oldest_wait_seconds", "gauge", "How long the oldest ready job has waited", ("queue",)),
    Declared("callboard_queue_paused", "gauge", "1 if the queue is paused", ("queue",)),
    # what becomes of jobs
    Declared("celery_task_sent", "counter", "Jobs accepted", _TASK),
    Declared("celery_task_started", "counter", "Attempts begun", _TASK),
    Declared("celery_task_succeeded", "counter", "Jobs that ended well", _TASK),
    Declared("celery_task_failed", "counter", "Jobs that failed for good", _TASK),
    Declared("celery_task_revoked", "counter", "Jobs canceled, or expired before they began", (*_TASK, "reason")),
    Declared("celery_task_retried", "counter", "Attempts that failed and are made again", _TASK),
    Declared("celery_task_runtime", "histogram", "Seconds from claim to end of attempts that ended their job", _TASK),
    Declared("callboard_job_wait_seconds", "histogram", "From when a job could start until a worker took it", _JOB),
    Declared("callboard_batch_jobs", "histogram", "Jobs that a worker took at once", _JOB),
    Declared("callboard_lease_losses", "counter", "Attempts whose worker died or fell silent", _JOB),
    Declared("callboard_queue_stale_commits", "counter", "Results refused: the claim was another's", ("queue",)),
    # what workers do besides, and what they are
    Declared(
        "callboard_provider_request_seconds", "histogram", "Requests to who answers chats and speaks",
        ("provider", "outcome"),
    ),
    Declared("callboard_model_load_seconds", "histogram", "Models loaded into a process", ("model",)),
    Declared("celery_worker_up", "gauge", "1 for each worker online", ("hostname",)),
    Declared("callboard_worker_memory_bytes", "gauge", "Resident memory of a worker's processes", _WORKER),
    Declared("callboard_worker_cpu_seconds", "counter", "Processor time of a worker's processes", _WORKER),
    Declared("callboard_worker_uptime_seconds", "gauge", "How long the worker has been online", _WORKER),
    Declared("callboard_worker_clock_skew_seconds", "gauge", "Its machine's clock minus the ledger's", _WORKER),
    Declared("callboard_worker_disk_free_bytes", "gauge", "Room where it keeps its files", _WORKER),
    Declared("callboard_gpu_memory_used_bytes", "gauge", "Memory of a GPU that is in use, by whomever", _GPU),
    Declared("callboard_gpu_memory_bytes", "gauge", "Memory of a GPU", _GPU),
    # webhooks
    Declared("callboard_webhook_deliveries", "counter", "Webhooks by what came of a try", ("outcome",)),
    Declared("callboard_webhook_tries", "gauge", "Webhooks that are being posted"),
    Declared("callboard_webhook_destinations_waiting", "gauge", "Destinations that a webhook waits for"),
    Declared("callboard_outbox_rows", "gauge", "Events that no courier took up yet", ("queue",)),
    Declared("callboard_outbox_oldest_seconds", "gauge", "How long the oldest of them has waited", ("queue",)),
)  # fmt: skip
BY_NAME = {one.name: one for one in METRICS}


def gauge(name: str) -> GaugeMetricFamily:
    one = BY_NAME[name]
    return GaugeMetricFamily(one.name, one.help, labels=one.labels)


def counter(name: str) -> CounterMetricFamily:
    one = BY_NAME[name]
    return CounterMetricFamily(one.name, one.help, labels=one.labels)


def histogram(name: str) -> HistogramMetricFamily:
    one = BY_NAME[name]
    return HistogramMetricFamily(one.name, one.help, labels=one.labels)
