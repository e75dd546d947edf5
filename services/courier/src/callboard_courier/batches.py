"""Carrying batches on: a thread that takes the one that is due, and goes on with it for a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog

from callboard_courier.batch_reading import PER_GROUP, Lost, Reading
from callboard_courier.batch_writing import Writing
from callboard_shared.errors import LedgerError
from callboard_shared.files import Files
from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import Ledger, batching
from callboard_shared.ledger.batching import BatchRecord, Tally
from callboard_shared.urls import Policy

log = structlog.get_logger(__name__)

EVERY_S = 0.2
"""Between two looks for a batch that is due, when none is."""
_LOOK_AGAIN_MS = 400
"""Until a batch is looked at again whose jobs have not all ended."""
_AFTER_FAULT_S = 1.0
_CANCELS_AT_ONCE = 500


class Batches:
    """Any number of couriers may carry batches on, each another one."""

    def __init__(
        self,
        ledger: Ledger,
        files: Files,
        urls: Policy,
        ring: Callable[[str], None],
        queues: Sequence[str] = QUEUES,
    ) -> None:
        self._ledger, self._queues = ledger, queues
        self._reading = Reading(ledger, files, urls, queues, ring)
        self._writing = Writing(ledger, files)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, wait: bool = True) -> None:
        self._stop.set()
        if wait and self._thread.ident is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if not self.carry_on():
                    self._stop.wait(EVERY_S)
            except (LedgerError, OSError) as error:
                log.warning(
                    "batches.interrupted", reason=getattr(error, "problem_code", type(error).__name__)
                )
                self._stop.wait(_AFTER_FAULT_S)
            except Exception:
                log.exception("batches.failed")  # the batch is due again when its lease is over
                self._stop.wait(_AFTER_FAULT_S)

    def carry_on(self) -> bool:
        """Go on with the batch that is due longest; False if none is. Raises LedgerError or OSError."""
        taken = self._ledger.run(batching.take())
        if taken is None:
            return False
        batch_id, batch = taken
        try:
            if batch is None or batch.status is not None:
                self._close(batch_id, batch)
            elif not batch.is_read:
                self._reading.go_on(batch)
            else:
                self._see_to_its_end(batch)
        except Lost:
            log.warning("batches.lost", batch=batch_id)
        return True

    def _see_to_its_end(self, batch: BatchRecord) -> None:
        parts = self._tallies(batch)
        queues = [queue for queue, part in parts.items() if part.submitted]
        if batch.canceling and not batch.told:
            self._cancel_jobs(batch, queues)
            self._ledger.run(batching.advance(batch, {"told": 1}, due_in_ms=0))
            return
        whole = batching.summed(list(parts.values()))
        if whole.ended < whole.submitted:
            self._ledger.run(batching.advance(batch, {}, due_in_ms=_LOOK_AGAIN_MS))
            return
        self._writing.finish(batch, queues)
        log.info("batches.ended", batch=batch.id)

    def _tallies(self, batch: BatchRecord) -> dict[str, Tally]:
        answers = self._ledger.run_many(batching.tallies(batch.id, self._queues))
        for answer in answers:
            if isinstance(answer, LedgerError):
                raise answer
        return dict(zip(self._queues, answers, strict=True))

    def _cancel_jobs(self, batch: BatchRecord, queues: Sequence[str]) -> None:
        """Those too that a courier may have submitted without writing it down."""
        for first in range(1, batch.line + PER_GROUP + 1, _CANCELS_AT_ONCE):
            if not self._ledger.run(batching.hold(batch)):
                raise Lost
            lines = range(first, first + _CANCELS_AT_ONCE)
            for answer in self._ledger.run_many(batching.cancellations(batch.id, lines, queues)):
                if isinstance(answer, LedgerError):
                    raise answer

    def _close(self, batch_id: str, batch: BatchRecord | None) -> None:
        self._ledger.run_many(batching.forget_tallies(batch_id, self._queues))
        self._ledger.run(batching.closed(batch_id, batch.attempt if batch else 0))
