"""What pipelines and batches have in common: many jobs that are accepted, waited for and found as one."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from callboard_gateway.desk import LOOK_AGAIN_S, Desk
from callboard_shared.errors import LedgerError, NotFound
from callboard_shared.ledger import Call
from callboard_shared.ledger.news import Bulletin

Gone = Callable[[], Awaitable[None]]
"""Returns when the caller has hung up."""


class New(Protocol):
    """A whole that is yet to be accepted."""

    @property
    def id(self) -> str: ...
    @property
    def owner(self) -> str: ...


class Record(Protocol):
    """A whole as the ledger keeps it; it has no status until it ends."""

    @property
    def id(self) -> str: ...
    @property
    def status(self) -> str | None: ...


class Whole(Protocol):
    """One that has been accepted."""

    @property
    def record(self) -> Record: ...
    @property
    def ended(self) -> bool: ...
    def view(self) -> dict[str, Any]: ...


N = TypeVar("N", bound=New)
W = TypeVar("W", bound=Whole)


class WholeDesk(ABC, Generic[N, W]):
    """Where wholes of one kind are accepted and waited for."""

    desk: Desk

    @abstractmethod
    def read(self, document: Any, owner: str, traceparent: str | None, whole_id: str | None, /) -> N:
        """The whole to accept, with a new id if none is given. Raises Invalid naming every fault, or Malformed."""

    @abstractmethod
    async def submit(self, new: N, /, watcher: str = "") -> W:
        """Accept it; ``watcher`` is told of its end."""

    @abstractmethod
    async def find(self, owner: str, whole_id: str, /) -> W:
        """The owner's. Raises NotFound, also for another owner's."""

    @abstractmethod
    async def _record(self, owner: str, whole_id: str, /) -> Record:
        """As ``find``, without its jobs."""

    @abstractmethod
    def _watch(self, whole_id: str, watcher: str, /) -> Call[Any]:
        """The call that has ``watcher`` told of its end."""

    async def accept(self, new: N, wait_s: float, gone: Gone, *, replayed: bool) -> W:
        """The whole, which a request before this one (``replayed``) may have made, waited for if that is wished."""
        if replayed:
            try:
                found = await self.find(new.owner, new.id)
            except NotFound:  # reserved, but never accepted: the first request was cut off in between
                pass
            else:
                return await self.wait(new.owner, new.id, wait_s, gone) if wait_s else found
        if not wait_s:
            return await self.submit(new)
        async with self.desk.news.expect(new.id) as bulletin:
            await self.submit(new, watcher=self.desk.news.name)
            return await self._until(new.owner, new.id, bulletin, wait_s, gone)

    async def wait(self, owner: str, whole_id: str, seconds: float, gone: Gone) -> W:
        """The whole when it has ended, or as it is after ``seconds``, or when the caller is ``gone``."""
        await self._record(owner, whole_id)
        async with self.desk.news.expect(whole_id) as bulletin:
            await self.desk.ledger.run(self._watch(whole_id, self.desk.news.name))
            return await self._until(owner, whole_id, bulletin, seconds, gone)

    async def _until(self, owner: str, whole_id: str, bulletin: Bulletin, seconds: float, gone: Gone) -> W:
        """As ``wait``; ``bulletin`` must have been there before the whole."""
        with suppress(TimeoutError):
            async with self.desk.stopping.while_there(seconds, gone):
                await self._until_ended(owner, whole_id, bulletin)
        return await self.find(owner, whole_id)

    async def _until_ended(self, owner: str, whole_id: str, bulletin: Bulletin) -> None:
        while True:
            try:
                if (await self._record(owner, whole_id)).status is not None:
                    return
            except LedgerError:
                await asyncio.sleep(0.5)  # whoever waits outlasts a ledger that is briefly away
                continue
            await bulletin.wait(LOOK_AGAIN_S)
