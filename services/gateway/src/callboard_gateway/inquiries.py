"""What open streams and long polls ask the ledger, asked together.

While one round trip is under way, what else is asked gathers; the next round trip takes it, one call for many
questions about the same queue. So ten thousand open streams are one reader to the ledger, and none of them holds a
connection. Nothing is read ahead: a stream asks when its reader has taken what it was told before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypeAlias

from callboard_shared.errors import LedgerError
from callboard_shared.ledger import AsyncLedger, Call, JobRecord, verbs
from callboard_shared.ledger.following import NOTHING, Fed, Told, feed, follow
from callboard_shared.states import JobStatus

MOST_PER_CALL = 50
"""Questions that one script run answers: the ledger serves others between two runs."""
MOST_AT_ONCE = 500
"""Questions of one round trip, so that no answer is late or large because of the others."""

Ask: TypeAlias = Callable[[str, Sequence[Any]], Call[list[Any]]]
"""Makes the call that answers questions of one kind about one queue, in order."""
Question: TypeAlias = tuple[Ask, str, Any]


class Inquiries:
    """``gateway``: the name by which the news reach this process; ``window_ms``: how long a feed is kept unread."""

    def __init__(self, ledger: AsyncLedger, gateway: str, window_ms: int) -> None:
        self._ledger = ledger
        self._follow: Ask = lambda queue, places: follow(queue, gateway, places)
        self._feed: Ask = lambda queue, places: feed(queue, gateway, places, window_ms)
        self._gathered: dict[Question, list[asyncio.Future[Any]]] = {}
        self._flight: asyncio.Task[None] | None = None

    async def events(self, queue: str, job_id: str, after: str) -> Told | None:
        """What happened to a job since the event with id ``after``; None if there is no such job. From now on the
        news tell of it. This and the others raise LedgerError."""
        told: Told | None = await self._ask(self._follow, queue, (job_id, after))
        return told

    async def status(self, queue: str, job_id: str) -> JobStatus | None:
        told = await self.events(queue, job_id, NOTHING)
        return told.status if told else None

    async def feed(self, queue: str, owner: str, after: str) -> Fed:
        """What happened to an owner's jobs since the entry with id ``after``."""
        fed: Fed = await self._ask(self._feed, queue, (owner, after))
        return fed

    async def record(self, queue: str, job_id: str) -> JobRecord | None:
        record: JobRecord | None = await self._ask(verbs.read, queue, job_id)
        return record

    async def _ask(self, ask: Ask, queue: str, about: Any) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._gathered.setdefault((ask, queue, about), []).append(future)
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly(), name="inquiries")
        return await future

    async def _fly(self) -> None:
        try:
            while self._gathered:
                batch = {one: self._gathered.pop(one) for one in list(islice(self._gathered, MOST_AT_ONCE))}
                await self._round(batch)
        finally:
            self._flight = None

    async def _round(self, batch: dict[Question, list[asyncio.Future[Any]]]) -> None:
        calls = list(_calls(batch))
        try:
            answers = await self._ledger.run_many([ask(queue, about) for ask, queue, about in calls])
        except Exception as error:
            answers = [error] * len(calls)
        for (ask, queue, about), answer in zip(calls, answers, strict=True):
            failed = isinstance(answer, Exception)
            for one, said in zip(about, [answer] * len(about) if failed else answer, strict=True):
                for future in batch[ask, queue, one]:
                    _settle(future, said)


def _calls(batch: dict[Question, list[asyncio.Future[Any]]]) -> list[tuple[Ask, str, list[Any]]]:
    """The questions by kind and queue, so many together."""
    calls: list[tuple[Ask, str, list[Any]]] = []
    last: dict[tuple[Ask, str], list[Any]] = {}
    for ask, queue, about in batch:
        part = last.get((ask, queue))
        if part is None or len(part) >= MOST_PER_CALL:
            part = last[ask, queue] = []
            calls.append((ask, queue, part))
        part.append(about)
    return calls


def _settle(future: asyncio.Future[Any], said: Any) -> None:
    if future.done():  # who asked has gone
        return
    if isinstance(
        said, LedgerError
    ):  # a copy each: one that is raised in many tasks gathers all their tracebacks
        future.set_exception(type(said)(said.detail, retry_after_s=said.retry_after_s))
    elif isinstance(said, Exception):
        future.set_exception(said)
    else:
        future.set_result(said)
