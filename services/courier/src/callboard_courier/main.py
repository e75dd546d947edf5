"""The courier: sweeps, carries batches on, runs the system's own jobs, and posts webhooks."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery import signals

from callboard_courier.batches import Batches
from callboard_courier.delivery.deliverer import Deliverer
from callboard_courier.handlers import echo
from callboard_courier.seeing import store_answers
from callboard_courier.settings import CourierSettings
from callboard_courier.sweep import sweep
from callboard_shared.bell import Bell
from callboard_shared.files import Files, configured_store
from callboard_shared.jobs import ECHO
from callboard_shared.ledger import Ledger
from callboard_shared.settings import OutboundSettings
from callboard_shared.worker import Worker

worker = Worker(
    "courier", queues=("courier", "system"), pool="threads", slots=CourierSettings().courier_slots
)
worker.handles(ECHO)(echo)
app = worker.celery

worker.looks["store"] = partial(store_answers, configured_store())
_sweep = sweep()
_delivery = Deliverer(grace_s=min(10, worker.settings.shutdown_grace_s))
_batches = Batches(Ledger(), Files(configured_store()), OutboundSettings().policy, Bell().ring)


@signals.worker_ready.connect(weak=False)
def _start(**_: Any) -> None:
    _sweep.start()
    _delivery.start()
    _batches.start()


@signals.worker_shutting_down.connect(weak=False)
def _stop(**_: Any) -> None:
    _sweep.stop(wait=False)
    _delivery.stop()
    _batches.stop(wait=False)


@signals.worker_shutdown.connect(weak=False)
def _end(**_: Any) -> None:
    _delivery.join()
