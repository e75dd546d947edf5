"""A no-op of plain Celery with a result backend.

``BENCH_BROKER`` and ``BENCH_RESULTS`` are Redis URLs; ``BENCH_SETTINGS`` is ``defaults`` or ``reliable``
(acknowledged late, one message ahead: what docs on lost tasks recommend). Run as a program it publishes
as many messages as its argument says, and prints the clock (``time.perf_counter``) when it begins.
"""

from __future__ import annotations

import os
import sys
import time

from celery import Celery

app = Celery("noop", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_RESULTS"])
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
if os.environ.get("BENCH_SETTINGS") == "reliable":
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )


@app.task(name="noop")  # type: ignore[untyped-decorator]
def noop() -> None:
    """Nothing."""


if __name__ == "__main__":
    with app.producer_pool.acquire(block=True) as producer:
        print(time.perf_counter(), flush=True)
        for _ in range(int(sys.argv[1])):
            noop.apply_async(producer=producer)
