"""The wait for a turn: a provider takes so many requests at once, and so many a minute. What is too much waits."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Protocol

from callboard_shared.errors import JobError

_MINUTE_S = 60.0
_LONGEST_PAUSE_S = 60.0


class Waiter(Protocol):
    """Who waits for a turn."""

    def delayed(self, why: str) -> None:
        """Why there is nothing yet."""

    def waiting(self) -> AbstractContextManager[None]:
        """Within, the job waits for its turn, and its time limit stands still."""


class Turns:
    """``at_once``: requests beside each other; ``per_min``: begun in any minute, 0 for any number. Belongs to one event
    loop."""

    def __init__(self, provider: str, at_once: int, per_min: int = 0) -> None:
        self._provider, self._at_once, self._per_min = provider, at_once, per_min
        self._places = asyncio.Semaphore(at_once)
        self._door = asyncio.Lock()
        """In front of it one waits for time to pass, and the others in line behind him."""
        self._begun: deque[float] = deque(maxlen=per_min or 1)
        self._shut_until = 0.0

    def heed(self, error: JobError) -> None:
        """If the provider said that it has had enough, and for how long, nobody begins before that."""
        if error.problem_code == "provider-rate-limited" and error.retry_after_s:
            self.pause(error.retry_after_s)

    def pause(self, seconds: float) -> None:
        """Nobody begins for so long."""
        self._shut_until = max(self._shut_until, time.monotonic() + min(seconds, _LONGEST_PAUSE_S))

    @asynccontextmanager
    async def turn(self, waiter: Waiter) -> AsyncIterator[None]:
        """Within, it is one's turn."""
        with waiter.waiting():
            if self._places.locked():
                waiter.delayed(f"{self._provider} takes {self._at_once} at once, so this one waits")
            await self._places.acquire()
        try:
            with waiter.waiting():
                await self._pass_the_door(waiter)
            yield
        finally:
            self._places.release()

    async def _pass_the_door(self, waiter: Waiter) -> None:
        async with self._door:
            wait_s = self._wait_s()
            if wait_s > 0:
                waiter.delayed(f"{self._provider} takes no more for now, so this one waits {wait_s:.0f} s")
            while wait_s > 0:  # it may have been shut meanwhile
                await asyncio.sleep(wait_s)
                wait_s = self._wait_s()
            self._begun.append(time.monotonic())

    def _wait_s(self) -> float:
        now = time.monotonic()
        full = self._per_min and len(self._begun) == self._per_min
        free_at = self._begun[0] + _MINUTE_S if full else 0.0
        return max(free_at, self._shut_until) - now
