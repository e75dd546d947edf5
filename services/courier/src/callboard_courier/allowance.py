"""How many jobs of a batch its key's budgets let through now. A budget is counted when jobs end, so what is under way
is counted beforehand: a batch is not to use up the budgets of a month before the first of its jobs has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from callboard_shared.access import get_key
from callboard_shared.budgets import BUDGETS, exhausted, today, used_of
from callboard_shared.errors import LedgerError
from callboard_shared.ledger import Ledger, UsageRow, batching, verbs
from callboard_shared.ledger.batching import BatchRecord

UNDER_WAY = 100
"""Jobs of a batch that may be under way while its key has a budget of tokens or characters left: what they will use is
not known."""


class Allowance:
    """``left``: by budget, jobs that may still be submitted; ``daily``: the budgets."""

    def __init__(self, left: dict[str, int], daily: Mapping[str, int], under_way: int) -> None:
        self._left, self._daily, self.under_way = left, daily, under_way
        self.refused: str | None = None

    def take(self, job_type: str) -> bool:
        """Whether one more job of the type may be submitted; if not, ``refused`` says why."""
        concerned = [name for name in self._left if name in BUDGETS or name == job_type]
        for name in concerned:
            if self._left[name] <= 0:
                waits = "Jobs of this batch that are under way count against the key's budget; it goes on as they end."
                self.refused = waits if self.under_way else exhausted(name, self._daily[name]).detail
                return False
        for name in concerned:
            self._left[name] -= 1
        self.under_way += 1
        return True


def allowance_of(ledger: Ledger, batch: BatchRecord, queues: Sequence[str]) -> Allowance:
    """As it is now. Raises LedgerError. A key that was deleted has no budgets: what it was promised is done."""
    key = ledger.run(get_key(batch.owner))
    daily = key.limits.daily if key is not None else {}
    if not daily:
        return Allowance({}, {}, 0)
    rows: list[UsageRow] = []
    for answer in ledger.run_many([verbs.usage(queue, batch.owner, today()) for queue in queues]):
        if isinstance(answer, LedgerError):
            raise answer
        rows += answer
    used = used_of(rows)
    tally = batching.summed([ledger.run(call) for call in batching.tallies(batch.id, queues)])
    under_way = tally.submitted - tally.ended
    left: dict[str, int] = {}
    for name, most in daily.items():
        rest = most - used.get(name, 0)
        left[name] = min(rest, UNDER_WAY) - under_way if name in BUDGETS[1:] else rest - under_way
    return Allowance(left, daily, under_way)
