"""What a key may use in a day: which figures count, and what is said when one is used up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from callboard_shared.errors import LimitReached
from callboard_shared.ledger.records import UsageRow

BUDGETS = ("jobs", "tokens", "characters")
"""Figures of all jobs together; any other name of a budget is that of a job type, and counts its jobs."""
DAY_S = 86_400


def today() -> int:
    """Days since 1970-01-01, UTC."""
    return int(time.time()) // DAY_S


def used_of(rows: Sequence[UsageRow]) -> dict[str, int]:
    """By budget."""
    used: dict[str, int] = {}
    for row in rows:
        used[row.type] = row.figures.get("jobs", 0)
        for figure in BUDGETS:
            used[figure] = used.get(figure, 0) + row.figures.get(figure, 0)
    return used


def exhausted(name: str, most: int) -> LimitReached:
    what = name if name in BUDGETS else f"jobs of {name}"
    now = time.time()
    midnight = (today() + 1) * DAY_S
    at = datetime.fromtimestamp(midnight, UTC).isoformat().replace("+00:00", "Z")
    return LimitReached(
        f"This key may use {most:,} {what} a day, and has. The next day begins at {at}; an admin can raise the budget "
        "with PATCH /v1/keys.",
        code="budget-exhausted",
        retry_after_s=midnight - now,
    )
