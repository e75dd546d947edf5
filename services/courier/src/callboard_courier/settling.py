"""Telling dependents: as soon as a job ends that others wait for, and again by the sweep where that was missed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog

from callboard_shared.bell import Bell
from callboard_shared.errors import CallboardError, FinalError, LedgerError
from callboard_shared.files import Files
from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import Filled, JobRecord, Ledger, keys, upkeep
from callboard_shared.ledger.dependencies import Dependencies
from callboard_shared.pipelines.filling import fill_in
from callboard_shared.worker.outcome import problem_json

log = structlog.get_logger(__name__)

_LISTEN_S = 1.0
"""How long one wait for news is; stopping takes no longer."""


def dependencies(ledger: Ledger, files: Files) -> Dependencies:
    def fill(ledger: Ledger, record: JobRecord) -> Filled:
        try:
            return fill_in(ledger, files, record)
        except (
            CallboardError,
            OSError,
        ):  # it says what is wrong; or the disk is away, and this is done again
            raise
        except Exception as error:
            log.exception("pipeline.not_filled", job=record.id)
            raise FinalError(
                f"Its input could not be made: {type(error).__name__}.", code="internal"
            ) from error

    return Dependencies(ledger, QUEUES, fill, problem_json)


class Settling:
    """A thread that hears which queues have dependents to tell, and tells them while ``is_wanted``."""

    def __init__(
        self, ledger: Ledger, bell: Bell, dependents: Dependencies, is_wanted: Callable[[], bool]
    ) -> None:
        self._ledger, self._bell, self._dependents, self._is_wanted = ledger, bell, dependents, is_wanted
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="settling", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, wait: bool = True) -> None:
        self._stop.set()
        if wait and self._thread.ident is not None:
            self._thread.join(5)

    def settle(self, queue: str, rows: Sequence[str]) -> None:
        """Make these settlements of a queue, and ring where that made jobs ready. Raises LedgerError."""
        ring: set[str] = set()
        for row in rows:
            try:
                dependent_queue, needed = self._dependents.settle_row(queue, row)
            except OSError as error:  # the row stays; the next pass tries again
                log.warning("settling.files_away", row=row, reason=str(error))
                continue
            ring |= {dependent_queue} if needed else set()
        for name in ring:
            self._bell.ring(name)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._ledger.hearing(keys.SETTLE) as heard:
                    while not self._stop.is_set():
                        self._follow(heard)
            except LedgerError as error:
                log.warning("settling.ledger_away", reason=error.problem_code)
                self._stop.wait(_LISTEN_S)
            except Exception:
                log.exception("settling.failed")  # the sweep does it too; a thread that ends is worse
                self._stop.wait(_LISTEN_S)

    def _follow(self, heard: Callable[[float], bytes | None]) -> None:
        queues: set[str] = set()
        message = heard(_LISTEN_S)
        while message is not None:  # many that end together are settled together
            queues.add(message.decode())
            message = heard(0)
        for queue in queues if self._is_wanted() else ():
            rows = self._ledger.run(upkeep.settlements(queue))
            self.settle(queue, rows)
