"""A worker's presence: it says every few seconds that it is there, and notices when one of its children died.

Runs as a thread of the worker's main process, so that it goes on while children compute. What a dead child held
is ready again within a second, instead of when its lease lapses.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import structlog

from callboard_shared.bell import Bell
from callboard_shared.errors import LedgerError
from callboard_shared.ledger import Ledger, verbs

log = structlog.get_logger(__name__)

_BEAT_S = 2.0
_ONLINE_MS = 8_000
_LOOK_S = 0.5


class Presence:
    """``health``: a file that is written whenever the ledger has taken a beat, for who looks after the process."""

    def __init__(
        self,
        worker_id: str,
        queues: Sequence[str],
        slots: int,
        *,
        models: Callable[[], Sequence[str]],
        note: Callable[[], str],
        facts: Callable[[], bytes] = lambda: b"{}",
        health: Path | None = None,
    ) -> None:
        self._id, self._queues, self._slots = worker_id, tuple(queues), slots
        self._models, self._note, self._facts, self._health = models, note, facts, health
        self._ledger, self._bell = Ledger(), Bell()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Say goodbye, so that nobody waits for this worker."""
        self._stop.set()
        self._thread.join(5)
        try:
            self._ledger.run_many([verbs.gone(queue, self._id) for queue in self._queues])
        except LedgerError:
            log.info("presence.no_goodbye", worker=self._id)

    def _run(self) -> None:
        beat_at = 0.0
        while not self._stop.wait(_LOOK_S):
            try:
                if time.monotonic() - beat_at >= _BEAT_S:
                    self._beat()
                    beat_at = time.monotonic()
                self._look_after_children()
            except LedgerError:
                continue  # said by the ledger's users; the next beat comes soon
            except Exception:
                log.exception("presence.failed", worker=self._id)  # a worker that nobody sees is worse

    def _beat(self) -> None:
        note, facts = self._note(), self._facts()
        answers = self._ledger.run_many(
            [
                verbs.beat(
                    queue, self._id, _ONLINE_MS, host=socket.gethostname(), pid=os.getpid(), slots=self._slots,
                    models=self._models(), note=note, facts=facts,
                )
                for queue in self._queues
            ]
        )  # fmt: skip
        if self._health and not any(isinstance(answer, LedgerError) for answer in answers):
            told = {"note": note, "bells": orjson.loads(facts).get("bells", "")}
            unfinished = self._health.with_suffix(".new")
            unfinished.write_bytes(orjson.dumps(told))
            unfinished.replace(self._health)  # a reader sees the old or the new, never half of one

    def _look_after_children(self) -> None:
        for queue in self._queues:
            for runner in self._ledger.run(verbs.runners(queue)):
                worker_id, _, pid = runner.partition("#")
                if worker_id == self._id and not is_running(int(pid)):
                    ring, jobs = self._ledger.run(verbs.lost(queue, runner))
                    log.warning("child.lost", runner=runner, jobs_ready_again=jobs)
                    if ring:
                        self._bell.ring(queue)


def is_running(pid: int) -> bool:
    """Whether a process of ours lives; a child that ended and was not waited for yet does not."""
    try:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # not our child, or waited for already
        return _exists(pid)
    return ended is None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
