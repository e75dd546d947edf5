"""Submissions of concurrent requests go to the ledger together.

While one round trip is under way, what else is submitted gathers; the next round trip takes it all, one call a
queue. An idle gateway submits at once; a busy one makes few, large calls, which costs a fraction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from callboard_shared.errors import CallboardError, LedgerError, LedgerUnavailable
from callboard_shared.ledger import AsyncLedger, Call, NewJob, SubmitReply, Submitted, verbs

MOST_PER_CALL = 250
"""Jobs in one script run: the ledger serves others between two runs."""

Result = Submitted | CallboardError


class Rings(Protocol):
    """What rings for a queue, off the event loop (``callboard_shared.bell.AsyncBell``)."""

    def ring_soon(self, queue: str) -> None: ...


class Submitter:
    """``max_waiting``: jobs that one key may have waiting; ``max_turns``, ``max_bytes``: of one conversation."""

    def __init__(
        self, ledger: AsyncLedger, bell: Rings, *, max_waiting: int, max_turns: int = 0, max_bytes: int = 0
    ) -> None:
        self._ledger = ledger
        self._bell = bell
        self._max_waiting, self._max_turns, self._max_bytes = max_waiting, max_turns, max_bytes
        self._gathered: list[tuple[NewJob, asyncio.Future[Submitted]]] = []
        self._flight: asyncio.Task[None] | None = None

    async def submit(self, job: NewJob) -> Submitted:
        """Submit one job, together with what others submit now. Raises RequestError or LedgerError."""
        future: asyncio.Future[Submitted] = asyncio.get_running_loop().create_future()
        self._gathered.append((job, future))
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly())
        return await future

    async def submit_many(self, jobs: Sequence[NewJob]) -> list[Result]:
        """Submit jobs in one round trip; per job what became of it, in order.

        A ledger that is away is raised; one that is full answers some jobs with LedgerFull.
        """
        calls: list[list[NewJob]] = []
        by_queue: dict[str, list[NewJob]] = {}
        for job in jobs:
            part = by_queue.get(job.queue)
            if part is None or len(part) >= MOST_PER_CALL:
                part = by_queue[job.queue] = []
                calls.append(part)
            part.append(job)
        requests = [
            verbs.submit(
                part[0].queue, part, self._max_waiting, max_turns=self._max_turns, max_bytes=self._max_bytes
            )
            for part in calls
        ]
        replies: list[SubmitReply | LedgerError] = await self._run(requests)
        found: dict[str, Result] = {}
        for part, reply in zip(calls, replies, strict=True):
            if isinstance(reply, LedgerError):
                found.update((job.id, reply) for job in part)
                continue
            found.update((job.id, result) for job, result in zip(part, reply.results, strict=True))
            if reply.ring:
                self._bell.ring_soon(part[0].queue)
        return [found[job.id] for job in jobs]

    async def _run(self, calls: Sequence[Call[SubmitReply]]) -> list[Any]:
        if len(calls) == 1:  # no need of a pipeline
            return [await self._ledger.run(calls[0])]
        return await self._ledger.run_many(calls)

    async def close(self) -> None:
        """Let what is under way end."""
        if self._flight is not None:
            await asyncio.wait([self._flight])

    async def _fly(self) -> None:
        while self._gathered:
            batch, self._gathered = self._gathered, []
            try:
                results: Sequence[Submitted | Exception] = await self.submit_many([job for job, _ in batch])
            except Exception as error:
                if isinstance(error, LedgerUnavailable):
                    # Who gathered meanwhile has waited as long: the answer is the same for them.
                    batch += self._gathered
                    self._gathered = []
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                _settle(future, result)
        self._flight = None


def _settle(future: asyncio.Future[Submitted], result: Submitted | Exception) -> None:
    if future.done():  # its request was given up
        return
    if isinstance(result, Submitted):
        future.set_result(result)
    elif isinstance(result, CallboardError):
        future.set_exception(_own(result))
    else:
        future.set_exception(result)


def _own(error: CallboardError) -> CallboardError:
    """A copy for each waiter: an exception that is raised in many tasks would gather all their tracebacks."""
    return type(error)(
        error.detail,
        code=error.problem_code,
        errors=error.errors,
        retry_after_s=error.retry_after_s,
        members=error.members,
    )
