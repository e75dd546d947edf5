"""The keeper: a thread beside the handlers of one process that keeps their claims.

It renews the leases, hears cancels within moments, enforces each job's time limit, and when a handler ignores
being told to stop, ends the process: the job is ended first, the jobs beside it go back to their line without
having used up an attempt. A handler that holds the interpreter lock for a minute ends its process as well.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from callboard_shared import tracing
from callboard_shared.errors import JobError, LedgerError
from callboard_shared.ledger import ClaimedJob, Ended, Ledger, keys, verbs
from callboard_shared.settings import WorkerSettings
from callboard_shared.worker.job import ClaimLost, Context, JobCanceled
from callboard_shared.worker.outcome import problem_json, timed_out
from callboard_shared.worker.tracks import about

log = structlog.get_logger(__name__)

_LISTEN_S = 1.0
_SILENT_S = 60
"""A process whose keeper could not run for this long is stuck, and its leases lapsed long ago."""
_SETTLE_S = 0.05
_DOUBT_S = 10.0
"""After trouble with the ledger: how long to look for jobs that were claimed without our hearing of it."""


@dataclass(slots=True)
class Held:
    claimed: ClaimedJob
    context: Context
    since: float = field(default_factory=time.monotonic)
    stopped_at: float | None = None
    error: JobError | None = None
    """Why it was told to stop, if not by a cancel."""

    def stop(self, reason: JobError, error: JobError | None = None) -> None:
        if self.stopped_at is None:
            self.stopped_at, self.error = time.monotonic(), error
            self.context.stop(reason)


class Keeper:
    def __init__(
        self,
        runner: str,
        queues: Iterable[str],
        ledger: Ledger,
        settings: WorkerSettings,
        *,
        stopping: Callable[[], bool],
        ring: Callable[[str], None],
        end_process: Callable[[], None] | None = None,
    ) -> None:
        self._runner, self._queues, self._ledger, self._settings = runner, tuple(queues), ledger, settings
        self._stopping, self._ring, self._end_process = stopping, ring, end_process or _end_process
        self.ending = False
        """The process is about to be ended: nothing may be claimed any more."""
        self._held: dict[str, tuple[str, Held]] = {}
        self._lock = threading.Lock()
        self._renewed_at = time.monotonic()
        self._stopping_since: float | None = None
        self._doubt_until = 0.0
        self._unknown: set[tuple[str, str, int]] = set()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def hold(self, queue: str, held: Held) -> None:
        with self._lock:
            self._held[held.claimed.id] = (queue, held)

    def let_go(self, job_ids: Iterable[str]) -> None:
        with self._lock:
            for job_id in job_ids:
                self._held.pop(job_id, None)

    def doubt(self) -> None:
        """The answer of a claim may have been lost on the way: what it took must be found and given back."""
        self._doubt_until = time.monotonic() + _DOUBT_S

    def _control_keys(self) -> list[str]:
        return [keys.of(queue, "control", self._runner) for queue in self._queues]

    def _run(self) -> None:
        while True:
            faulthandler.dump_traceback_later(_SILENT_S, exit=True)
            try:
                self._hear()
            except LedgerError:
                self.doubt()
                time.sleep(0.5)  # handlers go on; the leases may lapse, and then the commit is refused
            except Exception:
                log.exception(
                    "keeper.failed", runner=self._runner
                )  # without a keeper every lease would lapse
                time.sleep(1)
            self._check_time_limits()  # these need no ledger
            self._end_what_ignores_us()

    def _hear(self) -> None:
        heard = self._ledger.wait_any(self._control_keys(), _LISTEN_S)
        if heard is not None:
            self._cancel(heard.decode())
        if time.monotonic() - self._renewed_at >= self._settings.heartbeat_s:
            self._renew()
        if time.monotonic() < self._doubt_until:
            self._give_back_unknown()
        for _, held in self._snapshot():
            if held.context.has_unsent and not held.context.flush():
                break

    def _give_back_unknown(self) -> None:
        """Jobs that the ledger thinks we run and that nobody here knows, seen twice, go back to their line."""
        unknown: set[tuple[str, str, int]] = set()
        for queue in self._queues:
            for job_id, attempt in self._ledger.run(verbs.held(queue, self._runner)):
                if job_id not in self._held:
                    unknown.add((queue, job_id, attempt))
        for queue, job_id, attempt in unknown & self._unknown:
            if job_id not in self._held:
                log.warning("keeper.gives_back", runner=self._runner, job=job_id, attempt=attempt)
                self._finish(queue, [Ended(job_id, attempt, "release")])
        self._unknown = unknown

    def _snapshot(self) -> list[tuple[str, Held]]:
        with self._lock:
            return list(self._held.values())

    def _cancel(self, job_id: str) -> None:
        with self._lock:
            found = self._held.get(job_id)
        if found:
            found[1].stop(JobCanceled("The job was canceled."))

    def _check_time_limits(self) -> None:
        now = time.monotonic()
        for _, held in self._snapshot():
            if (now - held.since - held.context.waited_s) * 1000 > held.claimed.timeout_ms:
                held.stop(timed_out(held.claimed), timed_out(held.claimed))

    def _renew(self) -> None:
        lease_ms = int(self._settings.lease_s * 1000)
        by_queue: dict[str, list[Held]] = {}
        for queue, held in self._snapshot():
            by_queue.setdefault(queue, []).append(held)
        for queue, group in by_queue.items():
            claims = [(held.claimed.id, held.claimed.attempt) for held in group]
            states = self._ledger.run(verbs.renew(queue, self._runner, claims, lease_ms))
            for held, state in zip(group, states, strict=True):
                if state == "canceling":
                    held.stop(JobCanceled("The job was canceled."))
                elif state == "lost":
                    held.stop(ClaimLost("Another runner has this job now."))
        self._renewed_at = time.monotonic()

    def _end_what_ignores_us(self) -> None:
        now = time.monotonic()
        if self._stopping():
            self._stopping_since = self._stopping_since or now
        over = (
            self._stopping_since is not None and now - self._stopping_since > self._settings.shutdown_grace_s
        )
        grace = self._settings.cancel_grace_s
        stuck = [
            held
            for _, held in self._snapshot()
            if held.stopped_at is not None and now - held.stopped_at > grace
        ]
        if (over and self._held) or stuck:
            self.ending = True
            time.sleep(_SETTLE_S)  # for a claim that is on its way
            try:
                self._hand_back(stuck)
            except LedgerError as error:
                log.warning("keeper.cannot_hand_back", runner=self._runner, reason=error.problem_code)
                if not over:
                    self.ending = False
                    return  # nobody would hear why the job was ended: again at the next turn
            self._end_process()

    def _hand_back(self, stuck: list[Held]) -> None:
        """End what was told to stop and did not; everything else goes back to its line."""
        by_queue: dict[str, list[Ended]] = {}
        for queue in self._queues:  # leave first, or what goes back would wake us
            lease_ms = int(self._settings.lease_s * 1000)
            self._ledger.run(verbs.claim(queue, self._runner, limits={}, max_jobs=0, lease_ms=lease_ms))
        for queue, held in self._snapshot():
            job = held.claimed
            if held not in stuck:
                end = Ended(job.id, job.attempt, "release")
            elif held.error is not None:
                end = Ended(job.id, job.attempt, "failed", error=problem_json(held.error))
            else:
                end = Ended(job.id, job.attempt, "canceled")
            by_queue.setdefault(queue, []).append(end)
        for queue, ends in by_queue.items():
            self._finish(queue, ends)
        log.warning("keeper.ends_process", runner=self._runner, stuck=[about(held.claimed) for held in stuck])

    def _finish(self, queue: str, ends: list[Ended]) -> None:
        if self._ledger.run(verbs.finish(queue, self._runner, ends)).ring:
            self._ring(queue)


def _end_process() -> None:
    tracing.stop()
    os._exit(1)
