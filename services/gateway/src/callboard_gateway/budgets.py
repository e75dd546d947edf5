"""What a key may use in a day. It is counted when jobs end, so what is under way already is not cut short."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from callboard_shared.access import KeyLimits
from callboard_shared.budgets import BUDGETS, exhausted, today, used_of
from callboard_shared.errors import LedgerError, LimitReached
from callboard_shared.ledger import AsyncLedger, NewJob, UsageRow, verbs


class Budgets:
    """``limits_of``: those of a key's id, as they were when it was last let in."""

    def __init__(
        self, ledger: AsyncLedger, limits_of: Callable[[str], KeyLimits], queues: Sequence[str]
    ) -> None:
        self._ledger, self._limits_of, self._queues = ledger, limits_of, queues

    async def check(self, owner: str, jobs: Sequence[NewJob]) -> LimitReached | None:
        """Why these jobs of a key may not be submitted today, if so. Raises LedgerError."""
        daily = self._limits_of(owner).daily
        types = {job.type for job in jobs}
        concerned = {name: most for name, most in daily.items() if name in BUDGETS or name in types}
        if not concerned:
            return None
        used = await self._today(owner)
        for name, most in concerned.items():
            if used.get(name, 0) >= most:
                return exhausted(name, most)
        return None

    async def _today(self, owner: str) -> dict[str, int]:
        """What the key has used, by budget."""
        found: list[UsageRow] = []
        for rows in await self._ledger.run_many(
            [verbs.usage(queue, owner, today()) for queue in self._queues]
        ):
            if isinstance(rows, LedgerError):
                raise rows
            found += rows
        return used_of(found)
