"""The news: one reader per gateway process hears which watched jobs changed, and wakes who waits for them.

The scripts publish a job's id to the gateways that watch it and to nobody else, so a job that nobody watches
costs nothing. A lost message only delays: waiters look again every few seconds, and after a reconnect at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from redis.exceptions import RedisError

from callboard_shared.access import new_secret
from callboard_shared.errors import LedgerError
from callboard_shared.ledger import keys, verbs
from callboard_shared.ledger.client import AsyncLedger, ledger_errors

log = structlog.get_logger(__name__)


class Bulletin:
    """What one waiter of one job holds: ``wait`` returns when the job changed or the time is up."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def post(self) -> None:
        self._changed.set()

    async def wait(self, timeout_s: float) -> bool:
        """True if something changed since the last call."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        changed = self._changed.is_set()
        self._changed.clear()
        return changed


class News:
    def __init__(self, ledger: AsyncLedger) -> None:
        self.name = new_secret()[:10].replace("-", "x").replace("_", "y")
        self._ledger = ledger
        self._waiters: dict[str, set[Bulletin]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="ledger news")

    async def stop(self) -> None:
        while self._task and not self._task.done():
            self._task.cancel()  # more than once: the Redis client loses one that comes while it connects
            await asyncio.wait([self._task], timeout=0.2)

    @property
    def watched(self) -> int:
        """How many jobs somebody here waits for."""
        return len(self._waiters)

    @asynccontextmanager
    async def expect(self, job_id: str) -> AsyncIterator[Bulletin]:
        """Wait for a job that is about to be submitted with ``watcher=news.name``."""
        bulletin = Bulletin()
        self._waiters.setdefault(job_id, set()).add(bulletin)
        try:
            yield bulletin
        finally:
            waiters = self._waiters[job_id]
            waiters.discard(bulletin)
            if not waiters:
                del self._waiters[job_id]

    @asynccontextmanager
    async def watch(self, job_id: str, queue: str) -> AsyncIterator[Bulletin]:
        """Wait for a job that exists. What happened before the block is entered is not told: read first inside."""
        async with self.expect(job_id) as bulletin:
            await self._ledger.run(verbs.watch(job_id, queue, self.name))
            yield bulletin

    async def _listen(self) -> None:
        while True:
            try:
                with ledger_errors():
                    await self._hear()
            except (LedgerError, RedisError) as error:
                log.warning("news.lost", reason=type(error.__cause__ or error).__name__)
                self._wake_all()
                await asyncio.sleep(0.5)

    async def _hear(self) -> None:
        async with self._ledger.redis.pubsub() as pubsub:
            await pubsub.subscribe(keys.NEWS + self.name)
            while True:
                message = await pubsub.get_message(timeout=30)
                if message and message["type"] == "subscribe":
                    self._wake_all()  # from here on nothing is missed; look at what was
                elif message:
                    self._wake(message["data"].decode())

    def _wake(self, job_id: str) -> None:
        for bulletin in self._waiters.get(job_id, ()):
            bulletin.post()

    def _wake_all(self) -> None:
        for job_id in self._waiters:
            self._wake(job_id)
