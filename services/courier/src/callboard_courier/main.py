"""The courier: sweeps, runs the system's own jobs, and (with the delivery release) posts webhooks."""

from __future__ import annotations

from typing import Any

from celery import signals

from callboard_courier.handlers import echo
from callboard_courier.settings import CourierSettings
from callboard_courier.sweep import sweep
from callboard_shared.jobs import ECHO
from callboard_shared.worker import Worker

worker = Worker(
    "courier", queues=("courier", "system"), pool="threads", slots=CourierSettings().courier_slots
)
worker.handles(ECHO)(echo)
app = worker.celery

_sweep = sweep()


@signals.worker_ready.connect(weak=False)
def _start_sweep(**_: Any) -> None:
    _sweep.start()


@signals.worker_shutting_down.connect(weak=False)
def _stop_sweep(**_: Any) -> None:
    _sweep.stop(wait=False)
