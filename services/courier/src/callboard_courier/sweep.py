"""The sweep: once a second, in one place at a time, everything that time brings about.

What was scheduled or backs off becomes due, lapsed leases are released, deadlines expire jobs, dependents are
told, ended jobs past their retention are forgotten with their files, and unheard queues are rung for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import structlog

from callboard_shared.access import new_secret
from callboard_shared.bell import Bell
from callboard_shared.errors import LedgerError
from callboard_shared.files import Files, local_store
from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import Ledger, Swept, filing, upkeep, verbs
from callboard_shared.ledger.dependencies import register_again, settle_row

log = structlog.get_logger(__name__)

EVERY_S = 1.0
_LOCK_MS = 2_500
"""How long the sweep waits for a sweeper that died; two at once would do no harm."""
_LIMIT = 500
"""Jobs of each kind that one step of the ledger handles; it serves others between two steps."""
_MOST_ROUNDS = 20
"""A pass goes on while a queue has more of something than one step takes: up to 10,000 of each a second."""
_PARTIALS_EVERY_S = 3600
_FULL_AT = 0.9
"""From this share of Redis' maxmemory on new jobs are refused, so that accepted ones can still be rung for and end."""


class Sweep:
    """A thread that sweeps while it holds the lock; any number of couriers may run one."""

    def __init__(self, ledger: Ledger, bell: Bell, files: Files) -> None:
        self._ledger, self._bell, self._files = ledger, bell, files
        self._name = new_secret()[:12]
        self._partials_at = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, wait: bool = True) -> None:
        """Sweep no more. ``wait=False`` for a signal handler, which may hold what the thread waits for."""
        self._stop.set()
        if wait and self._thread.ident is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                if self._ledger.run(upkeep.hold_sweep_lock(self._name, _LOCK_MS)):
                    self.pass_over()
            except LedgerError as error:
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
        for record in self._ledger.run(filing.expired_files()):
            self._remove_file(record.id)
        if time.monotonic() >= self._partials_at:
            self._partials_at = time.monotonic() + _PARTIALS_EVERY_S
            self._files.store.remove_partials()

    def _follow_up(self, queue: str, swept: Swept) -> None:
        ring = {queue} if swept.ring else set()
        for row in swept.settle:
            dependent_queue, needed = settle_row(self._ledger, queue, row)
            ring |= {dependent_queue} if needed else set()
        for job_id in swept.blocked:
            if register_again(self._ledger, QUEUES, job_id, queue):
                ring.add(queue)
        for name in ring:
            self._bell.ring(name)
        for file_id in swept.files:
            self._remove_file(file_id)
        if swept.lapsed or swept.expired:
            log.info("sweep.passed", queue=queue, lapsed=swept.lapsed, expired=swept.expired)

    def _remove_file(self, file_id: str) -> None:
        record = self._ledger.run(filing.get_file(file_id))
        self._files.delete(file_id)
        if record is not None:
            self._ledger.run(filing.delete_file(file_id, record.owner))


def sweep() -> Sweep:
    return Sweep(Ledger(), Bell(), Files(local_store()))
