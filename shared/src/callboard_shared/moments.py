"""Times that clients give: RFC 3339 with an offset, between years that every part of the system can write."""

from __future__ import annotations

from datetime import UTC, datetime

FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
"""Half open. What is reckoned from a time (an expiry a year later, the same time in UTC) is a time as well."""


def read_time(text: str) -> datetime:
    """Raises ValueError, with words for whoever gave the time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("give a time such as 2026-11-22T09:30:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("the time needs an offset: Z, or such as +09:00")
    if not FIRST <= moment < LAST:
        raise ValueError(f"give a time from {FIRST:%Y} to {LAST.year - 1}")
    return moment
