"""The same jobs on plain Celery, with the settings that its documentation recommends where a job must not be lost.

It notes in the broker's Redis what it starts and ends. ``CHAOS_BROKER``: its URL.
"""

from __future__ import annotations

import os
import time

import redis
from celery import Celery

BROKER = os.environ["CHAOS_BROKER"]
VISIBILITY_S = 10

app = Celery("plain", broker=BROKER)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    # Far below the hour that is the default, and looked at every second instead of every hundred: so that what a
    # killed worker held comes back within the test.
    broker_transport_options={
        "visibility_timeout": VISIBILITY_S, "unacked_restore_interval": 1, "unacked_restore_throttle": 1,
    },
)  # fmt: skip
notes = redis.Redis.from_url(BROKER.removesuffix("/0") + "/1")


@app.task(name="errand")  # type: ignore[untyped-decorator]
def errand(number: int, seconds: float) -> None:
    """Takes so long; notes when it starts and when it has ended (epoch), and in which process group."""
    notes.rpush("started", f"{number} {time.time()} {os.getpgrp()}")
    time.sleep(seconds)
    notes.rpush("ended", f"{number} {time.time()}")
