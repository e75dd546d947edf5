"""The workers online, from what each says of itself when it says that it is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric

from callboard_gateway.metric_table import counter, gauge
from callboard_shared.ledger import WorkerInfo

_GAUGES = (
    ("callboard_worker_memory_bytes", "memory_bytes"),
    ("callboard_worker_clock_skew_seconds", "clock_skew_s"),
    ("callboard_worker_disk_free_bytes", "disk_free_bytes"),
)


def worker_families(workers: Sequence[WorkerInfo], now_s: float) -> Iterator[Metric]:
    """A worker that serves several queues has a row for each; ``hostname`` is Celery's word for the worker's name."""
    up = gauge("celery_worker_up")
    for name in sorted({worker.id for worker in workers}):
        up.add_metric([name], 1)
    yield up
    for name, fact in _GAUGES:
        family = gauge(name)
        for worker in workers:
            if fact in worker.facts:
                family.add_metric([worker.queue, worker.id], worker.facts[fact])
        yield family
    cpu, uptime = counter("callboard_worker_cpu_seconds"), gauge("callboard_worker_uptime_seconds")
    for worker in workers:
        if "cpu_s" in worker.facts:
            cpu.add_metric([worker.queue, worker.id], worker.facts["cpu_s"])
        uptime.add_metric([worker.queue, worker.id], max(0.0, now_s - worker.started_ms / 1000))
    yield from (cpu, uptime)
    yield from _gpus(workers)


def _gpus(workers: Sequence[WorkerInfo]) -> Iterator[Metric]:
    used, total = gauge("callboard_gpu_memory_used_bytes"), gauge("callboard_gpu_memory_bytes")
    gpus = {
        (worker.host, str(gpu["index"])): gpu for worker in workers for gpu in worker.facts.get("gpus", ())
    }
    for (host, index), gpu in sorted(gpus.items()):
        used.add_metric([host, index], gpu["used_bytes"])
        total.add_metric([host, index], gpu["total_bytes"])
    yield from (used, total)
