"""The batch runner, for handlers that compute: one batch after the other, in a child process of the pool.

It answers a bell: claims jobs that may run together, runs them in one call of the handler, ends them and claims
the next in the same round trip, until nothing is ready or its time slice is used.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from callboard_shared.bell import Bell
from callboard_shared.errors import FinalError, LedgerError
from callboard_shared.files import FileRecord, Files
from callboard_shared.jobs.base import Output
from callboard_shared.ledger import Call, Claim, ClaimedJob, Ended, FinishReply, Ledger, filing, keys, verbs
from callboard_shared.ledger.metering import TALLY
from callboard_shared.settings import WorkerSettings
from callboard_shared.worker import artifacts
from callboard_shared.worker.arrivals import arriving
from callboard_shared.worker.handlers import Handlers
from callboard_shared.worker.job import Context, Job
from callboard_shared.worker.keeper import Held, Keeper
from callboard_shared.worker.outcome import failed, read_input, succeeded
from callboard_shared.worker.tracks import about, log_end, processing, tell_outcome

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Running:
    """A claimed job; ``job``: as its handler gets it; ``result``: its output, or what it or its input raised."""

    claimed: ClaimedJob
    context: Context
    job: Job[Any] | None = None
    result: Any = None

    def read(self, handlers: Handlers) -> None:
        claimed = self.claimed
        try:
            value = read_input(handlers.job_type(claimed.type), claimed)
            self.job = Job(claimed.id, claimed.type, claimed.owner, claimed.attempt, value, self.context)
        except Exception as error:
            self.result = error


class BatchRunner:
    """One per process. ``stopping`` says whether the worker is shutting down."""

    def __init__(
        self,
        runner: str,
        queues: Sequence[str],
        handlers: Handlers,
        ledger: Ledger,
        bell: Bell,
        files: Files,
        settings: WorkerSettings,
        stopping: Callable[[], bool],
    ) -> None:
        self._runner, self._handlers, self._ledger = runner, handlers, ledger
        self._bell, self._files, self._settings, self._stopping = bell, files, settings, stopping
        self._keeper = Keeper(runner, queues, ledger, settings, stopping=stopping, ring=bell.ring)
        self._keeper.start()
        self._busy_since = 0.0

    def answer(self, queue: str) -> None:
        """Work on a queue until nothing is ready, the slice is used, or the worker shuts down."""
        until = time.monotonic() + self._settings.slice_s
        claim = self._patiently(self._claim(queue, answered=True))
        while claim is not None:
            if claim.ring:
                self._bell.ring(queue)
            if claim.jobs:
                self._busy_since = time.monotonic()
                claim = self._run_and_finish(queue, claim.jobs, until)
            elif self._over() or time.monotonic() > until:
                self._leave(queue)
                return
            else:
                claim = self._listen(queue)

    def _run_and_finish(self, queue: str, jobs: Sequence[ClaimedJob], until: float) -> Claim | None:
        """Run the jobs of a claim and commit what became of them: all together, unless some wait for their inputs."""
        running = [_Running(job, self._context(queue, job)) for job in jobs]
        for one in running:
            self._keeper.hold(queue, Held(one.claimed, one.context))
        try:
            with processing(queue, jobs) as span:
                early: list[Ended] = []
                for part, is_last in self._parts(running):
                    ended = self._run(part)
                    if is_last:
                        break
                    self._commit(queue, part, ended)
                    early += ended
                tell_outcome(span, [*early, *ended])
            return self._finish(queue, part, ended, self._over() or time.monotonic() > until)
        finally:
            # Also when something broke here: a lease that lapses is better than one kept for nobody.
            self._keeper.let_go([job.id for job in jobs])
            for one in running:
                one.context.close()

    def _claim(self, queue: str, *, answered: bool = False, listen: bool = True) -> Call[Claim]:
        return verbs.claim(
            queue,
            self._runner,
            limits=self._handlers.limits(queue),
            max_jobs=self._handlers.most_jobs(queue),
            lease_ms=int(self._settings.lease_s * 1000),
            answered=answered,
            listen_ms=int(self._settings.linger_s * 1000) if listen else 0,
        )

    def _listen(self, queue: str) -> Claim | None:
        """Wait a moment for work that comes without a bell; then hang up unless some came just now."""
        try:
            woken = self._ledger.wait_any([keys.of(queue, "wake", self._runner)], self._settings.linger_s)
            claim = self._ledger.run(self._claim(queue, listen=woken is not None))
        except LedgerError:
            self._keeper.doubt()
            return self._patiently(self._claim(queue)) if self._await_ledger(False) else None
        return claim if claim.jobs or woken is not None else None

    def _leave(self, queue: str) -> None:
        claim = self._patiently(self._claim_nothing(queue))
        if claim is not None and claim.ring:
            self._bell.ring(queue)

    def _claim_nothing(self, queue: str) -> Call[Claim]:
        lease_ms = int(self._settings.lease_s * 1000)
        return verbs.claim(queue, self._runner, limits={}, max_jobs=0, lease_ms=lease_ms)

    def _over(self) -> bool:
        return self._stopping() or self._keeper.ending

    def _patiently(self, call: Call[Any], *, even_when_stopping: bool = False) -> Any:
        """Run a call through an absence of the ledger; None if the worker stops meanwhile."""
        while True:
            try:
                return self._ledger.run(call)
            except LedgerError:
                self._keeper.doubt()
                if not self._await_ledger(even_when_stopping):
                    return None

    def _await_ledger(self, even_when_stopping: bool) -> bool:
        """Ask for something harmless until it is there: a claim that is sent blindly may still be carried out."""
        pause = 0.05
        while even_when_stopping or not self._stopping():  # when the grace is over the keeper ends us
            time.sleep(pause)
            pause = min(1.0, pause * 2)
            with contextlib.suppress(LedgerError):
                return self._ledger.run(verbs.ping())
        return False

    def _commit(self, queue: str, part: Sequence[_Running], ended: Sequence[Ended]) -> None:
        """Commit some jobs of a claim, while others are still to run."""
        reply = self._patiently(self._ending(queue, ended), even_when_stopping=True)
        self._after_commit(part, ended, reply)
        if reply is not None and reply.ring:
            self._bell.ring(queue)

    def _ending(self, queue: str, ended: Sequence[Ended]) -> Call[FinishReply]:
        began, self._busy_since = self._busy_since, time.monotonic()
        return verbs.finish(queue, self._runner, ended, (self._busy_since - began) * 1000, TALLY.take())

    def _finish(
        self, queue: str, part: Sequence[_Running], ended: Sequence[Ended], leave: bool
    ) -> Claim | None:
        """Commit, and claim what is next in the same round trip."""
        finish = self._ending(queue, ended)
        next_claim = self._claim_nothing(queue) if leave else self._claim(queue)
        reply: FinishReply | None = None
        claim: Claim | None = None
        try:
            answers = self._ledger.run_many([finish, next_claim])
            reply, claim = [None if isinstance(answer, LedgerError) else answer for answer in answers]
        except LedgerError:
            self._keeper.doubt()
        if reply is None:  # the same claim committing twice changes nothing
            reply = self._patiently(finish, even_when_stopping=True)
        self._after_commit(part, ended, reply)
        if claim is None:
            claim = self._patiently(next_claim)
        if claim is not None and (claim.ring or (reply and reply.ring)):
            self._bell.ring(queue)
        return None if leave else claim

    def _after_commit(
        self, part: Sequence[_Running], ended: Sequence[Ended], reply: FinishReply | None
    ) -> None:
        self._keeper.let_go([one.claimed.id for one in part])
        running = {one.claimed.id: one for one in part}
        for end, result in zip(ended, reply.results if reply else (), strict=False):
            one = running[end.id]
            if result == "committed" and end.outcome == "succeeded" and one.context.afterwards is not None:
                artifacts.tidy_up(one.context.afterwards)
            if result == "stale":
                log.warning("commit.refused", **about(one.claimed))
                artifacts.throw_away(self._ledger, self._files, end.files)

    def _send(self, call: Call[str]) -> bool:
        try:
            self._ledger.run(call)
        except LedgerError as error:
            log.warning("event.waits", reason=error.problem_code)
            return False
        return True

    # --- running ---

    def _context(self, queue: str, job: ClaimedJob) -> Context:
        return Context(
            job.id, queue, job.owner, job.attempt,
            runner=self._runner, send=self._send, files=self._files, find_file=self._find_file, ask=self._ledger.run,
        )  # fmt: skip

    def _parts(self, running: Sequence[_Running]) -> Iterator[tuple[list[_Running], bool]]:
        """The jobs of a claim as their inputs arrive, with whether these are the last; ``result`` holds already what
        is wrong with those that cannot run."""
        for one in running:
            one.read(self._handlers)
        jobs = [one.job for one in running if one.job is not None]
        able = [one for one in running if one.job is not None]
        part = [one for one in running if one.job is None]
        left = len(able)
        distant = [self._handlers.job_type(job.type).distant_of(job.input) for job in jobs]
        for arrived in arriving(jobs, distant):
            for place, fault in arrived:
                able[place].result = fault
                part.append(able[place])
            left -= len(arrived)
            yield part, left == 0
            part = []

    def _run(self, part: Sequence[_Running]) -> list[Ended]:
        self._handle([one for one in part if one.result is None])
        ended: list[Ended] = []
        for one in part:
            end = self._to_ended(one.claimed, one.context, one.result)
            log_end(one.claimed, end)
            one.context.flush()
            for record_it in artifacts.settle(self._files, one.context, end):
                self._patiently(record_it, even_when_stopping=True)
            one.context.close()
            if end is not None:
                ended.append(end)
        return ended

    def _find_file(self, file_id: str) -> FileRecord | None:
        return self._ledger.run(filing.get_file(file_id))

    def _to_ended(self, job: ClaimedJob, context: Context, result: Any) -> Ended | None:
        if isinstance(result, BaseException):
            return failed(job, context, result)
        try:
            return succeeded(job, context, result)
        except Exception as error:  # not JSON, a full disk: this job's failure, not the batch's
            return failed(job, context, error)

    def _handle(self, part: Sequence[_Running]) -> None:
        """Set ``result`` of each: its output, or what it raised."""
        jobs = [one.job for one in part if one.job is not None]
        if not jobs:
            return
        for one, output in zip(part, self._call(self._handlers.get(jobs[0].type), jobs), strict=True):
            one.result = output

    def _call(
        self, handler: Callable[..., Any], jobs: list[Job[Any]]
    ) -> list[Output | dict[str, Any] | BaseException]:
        """One call for all; if that fails as a whole, one call for each, so that a bad job fails alone."""
        if not self._handlers.takes_batches(jobs[0].type):
            return [_call_one(handler, job) for job in jobs]
        try:
            results = list(handler(jobs))
            if len(results) != len(jobs):
                raise FinalError(
                    f"The handler gave {len(results)} results for {len(jobs)} jobs; it must give one for each.",
                    code="handler-error",
                )
            return results
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, and what a Rust library panics with, are no Exceptions
            if len(jobs) == 1:
                return [error]
            log.warning("batch.split", type=jobs[0].type, jobs=len(jobs), reason=type(error).__name__)
            return [self._call(handler, [job])[0] for job in jobs]


def _call_one(handler: Callable[..., Any], job: Job[Any]) -> Any:
    try:
        job.context.check_canceled()
        return handler(job)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return error
