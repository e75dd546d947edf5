"""The sweep: once a second, in one place at a time, everything that time brings about.

What was scheduled or backs off becomes due, lapsed leases are released, deadlines expire jobs, dependents are
told, pipelines are carried on, ended jobs and batches past their retention are forgotten with their files, as are
deliveries of webhooks, and unheard queues are rung for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import structlog

from callboard_courier.orphans import Orphans
from callboard_courier.settling import Settling, dependencies
from callboard_shared.access import new_secret
from callboard_shared.bell import Bell
from callboard_shared.errors import LedgerError
from callboard_shared.files import Files, configured_store
from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import (
    Ledger,
    Swept,
    batching,
    deliveries,
    endpoints,
    filing,
    pipelining,
    upkeep,
    verbs,
)
from callboard_shared.webhooks import OUTBOXES

log = structlog.get_logger(__name__)

EVERY_S = 1.0
_LOCK_MS = 2_500
"""How long the sweep waits for a sweeper that died; two at once would do no harm."""
_LIMIT = 500
"""Jobs of each kind that one step of the ledger handles; it serves others between two steps."""
_MOST_ROUNDS = 20
"""A pass goes on while a queue has more of something than one step takes: up to 10,000 of each a second."""
_PARTIALS_EVERY_S = 3600
_SUBSCRIPTIONS_EVERY_S = 60
_ORPHANS_EVERY_S = 60
_FULL_AT = 0.9
"""From this share of Redis' maxmemory on new jobs are refused, so that accepted ones can still be rung for and end."""


class Sweep:
    """A thread that sweeps while it holds the lock; any number of couriers may run one."""

    def __init__(self, ledger: Ledger, bell: Bell, files: Files) -> None:
        self._ledger, self._bell, self._files = ledger, bell, files
        self._name = new_secret()[:12]
        self._orphans = Orphans(ledger, files)
        self._partials_at = self._orphans_at = self._subscriptions_at = time.monotonic()
        self._dependencies = dependencies(ledger, files)
        self._settling = Settling(ledger, bell, self._dependencies, is_wanted=lambda: self._leads)
        self._leads = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._settling.start()

    def stop(self, *, wait: bool = True) -> None:
        """Sweep no more. ``wait=False`` for a signal handler, which may hold what the thread waits for."""
        self._stop.set()
        self._settling.stop(wait=wait)
        if wait and self._thread.ident is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                self._leads = self._ledger.run(upkeep.hold_sweep_lock(self._name, _LOCK_MS))
                if self._leads:
                    self.pass_over()
            except LedgerError as error:
                self._leads = False
                log.warning("sweep.ledger_away", reason=error.problem_code)
            except Exception:
                log.exception("sweep.failed")  # the next pass comes in a second; a sweep that ends is worse

    def pass_over(self) -> None:
        """One pass over all queues."""
        full = self._ledger.run(upkeep.memory_used()) > _FULL_AT
        queues: Sequence[str] = QUEUES
        for _ in range(_MOST_ROUNDS):
            swept = self._ledger.run_many([verbs.sweep(queue, _LIMIT, full=full) for queue in queues])
            unfinished: list[str] = []
            for queue, result in zip(queues, swept, strict=True):
                if isinstance(result, LedgerError):
                    raise result
                self._follow_up(queue, result)
                if result.more:
                    unfinished.append(queue)
            queues = unfinished
            if not queues or self._stop.is_set():
                break
        self._carry_on_pipelines()
        for _ in range(_MOST_ROUNDS):
            if self._ledger.run(deliveries.forget(_LIMIT)) < _LIMIT:
                break
        for file_id in self._ledger.run(batching.forget()):
            self._remove_file(file_id)
        for record in self._ledger.run(filing.expired_files()):
            self._remove_file(record.id)
        if time.monotonic() >= self._partials_at:
            self._partials_at = time.monotonic() + _PARTIALS_EVERY_S
            self._files.store.remove_partials()
        if time.monotonic() >= self._orphans_at:
            self._orphans_at = time.monotonic() + _ORPHANS_EVERY_S
            self._orphans.look()
        if time.monotonic() >= self._subscriptions_at:
            self._subscriptions_at = time.monotonic() + _SUBSCRIPTIONS_EVERY_S
            endpoints.publish_again(self._ledger, OUTBOXES)

    def _carry_on_pipelines(self) -> None:
        undone, _ = self._ledger.run(pipelining.sweep(_LIMIT))
        for pipeline_id in undone:
            for name in self._dependencies.carry_out(pipeline_id):
                self._bell.ring(name)

    def _follow_up(self, queue: str, swept: Swept) -> None:
        if swept.ring:
            self._bell.ring(queue)
        self._settling.settle(queue, swept.settle)
        for job_id in swept.blocked:
            if self._dependencies.register_again(job_id, queue):
                self._bell.ring(queue)
        freed = list(swept.files)
        for row in swept.steps:
            pipeline_id, job_id = row.split(" ")
            freed += self._dependencies.forget_step(pipeline_id, job_id, queue)
        for file_id in freed:
            self._remove_file(file_id)
        if swept.lapsed or swept.expired:
            log.info("sweep.passed", queue=queue, lapsed=swept.lapsed, expired=swept.expired)

    def _remove_file(self, file_id: str) -> None:
        record = self._ledger.run(filing.get_file(file_id))
        if (
            record is not None
        ):  # first: a content without a record is found again, a record without one is not
            self._ledger.run(filing.delete_file(file_id, record.owner))
        self._files.delete(file_id)


def sweep() -> Sweep:
    return Sweep(Ledger(), Bell(), Files(configured_store()))
