"""The ledger as the gateway sees it: it answers soon, or it is away.

A client that repeats on a broken connection may take twice its socket timeout; an HTTP caller is promised its
503 within two seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from callboard_shared.errors import LedgerError
from callboard_shared.ledger import AsyncLedger, Call, Copies
from callboard_shared.ledger.client import unavailable
from callboard_shared.settings import LedgerSettings

T = TypeVar("T")


class PromptLedger(AsyncLedger):
    """An ``AsyncLedger`` of which every answer comes within ``patience_s`` seconds, or LedgerUnavailable.

    ``replicas``, ``on_disk``: what its promises wait for (``Copies``).
    ``closed``: why it is not to be used yet; raised in place of every answer.
    """

    def __init__(
        self,
        settings: LedgerSettings | None = None,
        *,
        patience_s: float = 1.8,
        replicas: int = 0,
        on_disk: bool = False,
    ) -> None:
        settings = settings or LedgerSettings()
        patience = 0.75 * min(patience_s, settings.redis_timeout_s)  # so that it can say what is missing
        super().__init__(settings, copies=Copies(replicas, on_disk, int(patience * 1000)))
        self._patience_s = patience_s
        self.closed: LedgerError | None = None

    async def run(self, call: Call[T]) -> T:
        self._check()
        return await self._soon(super().run(call))

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        self._check()
        return await self._soon(super().run_many(calls))

    def _check(self) -> None:
        if self.closed is not None:
            raise self.closed.with_traceback(None)  # the same one for many requests

    async def _soon(self, answer: Coroutine[Any, Any, T]) -> T:
        # Not asyncio.timeout: the Redis client loses a cancel that comes while it connects, and goes on.
        task = asyncio.create_task(answer)
        try:
            await asyncio.wait((task,), timeout=self._patience_s)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done():
            return task.result()
        task.cancel()
        task.add_done_callback(_forget)
        raise unavailable()


def _forget(task: asyncio.Task[Any]) -> None:
    """Whatever became of it, nobody waits for it any more."""
    if not task.cancelled():
        task.exception()
