"""Ending what waits when the gateway goes down: long polls answer, streams close, within a moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


class Stopping:
    """Deadlines that come at once when the server is told to stop."""

    def __init__(self) -> None:
        self._deadlines: set[asyncio.Timeout] = set()
        self.begun = False

    @asynccontextmanager
    async def within(self, seconds: float | None) -> AsyncIterator[asyncio.Timeout]:
        """As ``asyncio.timeout``, which raises TimeoutError; also as soon as the server stops."""
        async with asyncio.timeout(0 if self.begun else seconds) as deadline:
            self._deadlines.add(deadline)
            try:
                yield deadline
            finally:
                self._deadlines.discard(deadline)

    @asynccontextmanager
    async def while_there(
        self, seconds: float, gone: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[asyncio.Timeout]:
        """As ``within``; also as soon as the caller is ``gone``."""
        async with self.within(seconds) as deadline:
            loop = asyncio.get_running_loop()
            leaving = asyncio.ensure_future(gone())
            leaving.add_done_callback(
                lambda task: (
                    None if task.cancelled() or deadline.expired() else deadline.reschedule(loop.time())
                )
            )
            try:
                yield deadline
            finally:
                leaving.cancel()

    def begin(self) -> None:
        self.begun = True
        now = asyncio.get_running_loop().time()
        for deadline in self._deadlines:
            deadline.reschedule(now)
