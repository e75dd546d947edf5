"""The concurrent runner, for handlers that wait: many jobs at once on one event loop, in one process.

It claims as many jobs as it has room for, ends those that are done and claims the next in one round trip, and
while anything runs goes on listening, so that new work starts at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from callboard_shared.bell import AsyncBell
from callboard_shared.errors import JobError, LedgerError
from callboard_shared.files import Files
from callboard_shared.ledger import AsyncLedger, Call, Claim, ClaimedJob, Ended, Ledger, filing, keys, verbs
from callboard_shared.ledger.metering import TALLY
from callboard_shared.settings import WorkerSettings
from callboard_shared.worker import artifacts
from callboard_shared.worker.handlers import Handlers
from callboard_shared.worker.job import Context, Job
from callboard_shared.worker.keeper import Held, Keeper
from callboard_shared.worker.outcome import failed, read_input, succeeded
from callboard_shared.worker.tracks import about, log_end, processing, tell_outcome

log = structlog.get_logger(__name__)

_LISTEN_S = 1.0
_LISTED_MS = 1_500
"""How long a claim that found nothing keeps us known as a listener: a little longer than until the next one."""
_LAST_S = 3.0
"""What a handing back may take before the keeper ends the process."""
_SLOW_S = 1.0
"""A claim that took so long may have been sent twice."""


class ConcurrentRunner:
    """One per process and queue; ``room`` jobs at most run at a time."""

    def __init__(
        self,
        runner: str,
        queue: str,
        room: int,
        handlers: Handlers,
        ledger: Ledger,
        bell: AsyncBell,
        files: Files,
        settings: WorkerSettings,
        stopping: Callable[[], bool],
    ) -> None:
        self._runner, self._queue, self._room, self._handlers = runner, queue, room, handlers
        self._bell, self._files, self._settings, self._stopping = bell, files, settings, stopping
        self._keeper = Keeper(runner, [queue], ledger, settings, stopping=stopping, ring=bell.ring_soon)
        self._keeper.start()
        self._blocking = ledger
        self._lease_ms = int(settings.lease_s * 1000)
        self._tasks: set[asyncio.Task[None]] = set()
        self._handling: dict[str, asyncio.Task[None]] = {}
        """The tasks that are inside a handler: only those are canceled, never one that is ending its job."""
        self._ended: list[Ended] = []
        self._ended_jobs: dict[str, ClaimedJob] = {}
        self._afterwards: dict[str, Callable[[], None]] = {}
        self._started: dict[str, float] = {}
        self._stopping_since: float | None = None
        self._something = asyncio.Event()
        self._events = ThreadPoolExecutor(1, thread_name_prefix="events")
        self._loop = asyncio.Runner()
        """One for all answers, so that what a handler keeps open (connections, a started server) outlives them."""

    def answer(self) -> None:
        """Work on the queue until nothing is ready, nothing runs and nothing came for a moment."""
        self._loop.run(self._answer())

    async def _answer(self) -> None:
        ledger = AsyncLedger()
        self._something = asyncio.Event()
        hearing = asyncio.create_task(self._hear(ledger))
        try:
            await self._work(ledger)
        finally:
            while not hearing.done():  # redis-py swallows a cancel now and then: again until it is heard
                hearing.cancel()
                await asyncio.wait({hearing}, timeout=0.02)
            for task in self._tasks:  # none, unless something broke: then the leases lapse
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            self._keeper.let_go(list(self._started))
            self._started.clear()
            self._handling.clear()
            self._tasks.clear()
            self._ended.clear()
            self._ended_jobs.clear()
            await ledger.close()

    async def _work(self, ledger: AsyncLedger) -> None:
        answered, quiet_since = True, time.monotonic()
        while True:
            stopping = self._stopping()
            if stopping:
                self._stop_when_time_is_up()
            free = 0 if stopping or self._keeper.ending else self._room - len(self._tasks)
            idle = not self._tasks and not self._ended
            over = stopping or time.monotonic() - quiet_since > self._settings.linger_s
            if idle and over and not answered:
                if await self._leave(ledger, stopping):
                    return
                quiet_since = time.monotonic()
            claim = await self._end_and_claim(ledger, free, answered)
            answered = False
            if claim is not None and claim.jobs:
                quiet_since = time.monotonic()
                for job in claim.jobs:
                    self._start(job)
                continue
            if self._tasks:
                quiet_since = time.monotonic()
            await self._wait()

    def _stop_when_time_is_up(self) -> None:
        """On shutdown running jobs have a grace; then they are stopped and go back to their line."""
        now = time.monotonic()
        self._stopping_since = self._stopping_since or now
        grace = self._settings.shutdown_grace_s
        if now - self._stopping_since > grace - min(_LAST_S, grace / 4):
            for job_id in list(self._handling):
                self._stop_handler(job_id)

    async def _leave(self, ledger: AsyncLedger, stopping: bool) -> bool:
        """A last look; True when there was nothing (or nothing may be taken any more) and the answer is over."""
        most = 0 if stopping or self._keeper.ending else self._room
        claim = await self._try(ledger, self._claim(most, listen=False, answered=False))
        if claim is None:
            return stopping
        if claim.ring:
            self._bell.ring_soon(self._queue)
        for job in claim.jobs:
            self._start(job)
        return not claim.jobs

    def _claim(self, most: int, *, listen: bool, answered: bool) -> Call[Claim]:
        return verbs.claim(
            self._queue,
            self._runner,
            limits=self._handlers.limits(self._queue),
            max_jobs=most,
            lease_ms=self._lease_ms,
            answered=answered,
            listen_ms=_LISTED_MS if listen else 0,
        )

    async def _end_and_claim(self, ledger: AsyncLedger, free: int, answered: bool) -> Claim | None:
        """Commit what is done and claim the next; None when nothing could be asked."""
        ended, self._ended = self._ended, []
        calls: list[Call[Any]] = []
        if ended:
            busy_ms = self._busy_ms(ended)
            calls.append(verbs.finish(self._queue, self._runner, ended, busy_ms, TALLY.take()))
        if free > 0:
            calls.append(self._claim(free, listen=True, answered=answered))
        if not calls:
            return None
        asked_at = time.monotonic()
        try:
            replies = await ledger.run_many(calls)
            for reply in replies:
                if isinstance(reply, LedgerError):
                    raise reply
        except LedgerError as error:
            log.warning("ledger.away", reason=error.problem_code)
            self._ended = ended + self._ended  # committing the same claim twice changes nothing
            await self._await_ledger(ledger)
            return None
        if time.monotonic() - asked_at > _SLOW_S:
            self._keeper.doubt()
        if ended:
            await self._after_commit(ended, replies[0].results)
        if any(reply.ring for reply in replies):
            self._bell.ring_soon(self._queue)
        return replies[-1] if free > 0 else None

    async def _await_ledger(self, ledger: AsyncLedger) -> None:
        """Ask for something harmless until it is there: a claim that is sent blindly may still be carried out."""
        self._keeper.doubt()
        pause = 0.1
        while True:
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 2)
            with contextlib.suppress(LedgerError):
                await ledger.run(verbs.ping())
                return
            if self._stopping() and not self._tasks and not self._ended:
                return

    def _busy_ms(self, ended: Sequence[Ended]) -> float:
        """Slot time that these jobs took together; each occupied one place of the room."""
        now = time.monotonic()
        return sum(now - self._started.get(end.id, now) for end in ended) * 1000

    async def _after_commit(self, ended: Sequence[Ended], results: Sequence[str]) -> None:
        self._let_go([end.id for end in ended])
        claimed = {end.id: self._ended_jobs.pop(end.id) for end in ended}
        for end, result in zip(ended, results, strict=True):
            afterwards = self._afterwards.pop(end.id, None)
            if result == "committed" and end.outcome == "succeeded" and afterwards is not None:
                await asyncio.to_thread(artifacts.tidy_up, afterwards)
            if result == "stale":
                log.warning("commit.refused", **about(claimed[end.id]))
                if end.files:
                    await asyncio.to_thread(artifacts.throw_away, self._blocking, self._files, end.files)

    def _let_go(self, job_ids: Sequence[str]) -> None:
        self._keeper.let_go(job_ids)
        for job_id in job_ids:
            self._started.pop(job_id, None)

    async def _try(self, ledger: AsyncLedger, call: Call[Any]) -> Any:
        try:
            return await ledger.run(call)
        except LedgerError:
            if not self._stopping():
                await self._await_ledger(ledger)
            return None

    async def _wait(self) -> None:
        """Until a job is done, or new work is announced, or a second has passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LISTEN_S):
                await self._something.wait()
        self._something.clear()

    async def _hear(self, ledger: AsyncLedger) -> None:
        """Listen all the time: with a pause between two listenings a job would wait out the pause."""
        while True:
            try:
                if await ledger.wait_any([keys.of(self._queue, "wake", self._runner)], _LISTEN_S):
                    self._something.set()
            except LedgerError:
                await asyncio.sleep(0.5)  # said by whoever claims

    # --- running ---

    def _start(self, claimed: ClaimedJob) -> None:
        loop = asyncio.get_running_loop()
        context = Context(
            claimed.id, self._queue, claimed.owner, claimed.attempt,
            runner=self._runner, send=self._send, files=self._files,
            find_file=lambda file_id: self._blocking.run(filing.get_file(file_id)), ask=self._blocking.run,
        )  # fmt: skip
        self._started[claimed.id] = time.monotonic()
        task = loop.create_task(self._run(claimed, context))
        self._tasks.add(task)
        self._handling[claimed.id] = task
        self._keeper.hold(self._queue, Held(claimed, context))
        context.on_stop(lambda: _soon(loop, self._stop_handler, claimed.id))

    def _stop_handler(self, job_id: str) -> None:
        """Cancel a handler, once; its task goes on to end the job."""
        task = self._handling.pop(job_id, None)
        if task is not None:
            task.cancel()

    def _send(self, call: Call[str]) -> bool:
        # Handlers speak on the loop: one thread sends what they say, in order, so that nothing blocks.
        self._events.submit(self._send_now, call)
        return True

    def _send_now(self, call: Call[str]) -> None:
        until = time.monotonic() + self._settings.lease_s
        while True:
            try:
                self._blocking.run(call)
                return
            except LedgerError as error:
                if self._stopping() or time.monotonic() > until:
                    log.warning("event.lost", reason=error.problem_code)
                    return
                time.sleep(0.5)

    async def _run(self, claimed: ClaimedJob, context: Context) -> None:
        with processing(self._queue, [claimed]) as span:
            end = await self._outcome(claimed, context)
            log_end(claimed, end)
            tell_outcome(span, [end] if end else [])
            await self._settle(claimed, context, end)

    async def _outcome(self, claimed: ClaimedJob, context: Context) -> Ended | None:
        try:
            return await self._handled(claimed, context)
        except asyncio.CancelledError:
            return self._stopped(claimed, context)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # SystemExit, and what a Rust library panics with, are no Exceptions
            return failed(claimed, context, error)
        finally:
            self._handling.pop(claimed.id, None)

    async def _settle(self, claimed: ClaimedJob, context: Context, end: Ended | None) -> None:
        if context.spoke:
            context.flush()
            await asyncio.get_running_loop().run_in_executor(self._events, _nothing)  # until it is all sent
        if context.created:
            await asyncio.to_thread(self._settle_files, context, end)
        if end is not None:
            if context.afterwards is not None:
                self._afterwards[claimed.id] = context.afterwards
            self._ended.append(end)
            self._ended_jobs[end.id] = claimed
        else:
            self._let_go([claimed.id])
        # Here and not in a callback: whoever is woken must see that there is room again.
        self._tasks.discard(asyncio.current_task())
        self._something.set()

    def _settle_files(self, context: Context, end: Ended | None) -> None:
        for call in artifacts.settle(self._files, context, end):
            while True:
                try:
                    self._blocking.run(call)
                    break
                except LedgerError:
                    time.sleep(0.5)  # the job cannot end without the ledger either

    async def _handled(self, claimed: ClaimedJob, context: Context) -> Ended:
        job_type = self._handlers.job_type(claimed.type)
        job = Job(
            claimed.id, claimed.type, claimed.owner, claimed.attempt, read_input(job_type, claimed), context
        )
        return succeeded(claimed, context, await self._handlers.get(claimed.type)(job))

    def _stopped(self, claimed: ClaimedJob, context: Context) -> Ended | None:
        try:
            context.check_canceled()
        except JobError as reason:
            return failed(claimed, context, reason)
        return Ended(claimed.id, claimed.attempt, "release")


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[str], None], job_id: str) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nothing runs there any more
        loop.call_soon_threadsafe(call, job_id)


def _nothing() -> None:
    """Runs when everything before it on the same thread has run."""
