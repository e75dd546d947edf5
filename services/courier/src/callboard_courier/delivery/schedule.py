"""When a webhook is tried, and what an answer means.

The times are those of the Standard Webhooks specification, each counted from the end of the try before.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import orjson

from callboard_shared.ledger.deliveries import Due, Tried
from callboard_shared.webhooks import TEST_EVENT

SCHEDULE_S = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
JITTER = 0.05
"""Each wait is up to this share longer or shorter, so that what failed together does not come back together."""
MOST_RETRY_AFTER_S = 86_400


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one try. error: ``code: sentence``, where there was no answer, or one that cannot be right."""

    at_ms: int
    latency_ms: int
    status: int | None = None
    response: str | None = None
    error: str | None = None
    retry_after_s: float | None = None
    blocked: bool = False

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    def account(self) -> bytes:
        return orjson.dumps(
            {
                "at": self.at_ms, "status_code": self.status, "latency_ms": self.latency_ms, "response": self.response,
                "error": self.error,
            }
        )  # fmt: skip


def delay_ms(step: int, retry_after_s: float | None = None) -> int:
    """How long to wait before the try with this number (0 is the first). A receiver may ask for more, up to a day."""
    waiting = SCHEDULE_S[step] * random.uniform(1 - JITTER, 1 + JITTER)
    return int(1000 * max(waiting, min(retry_after_s or 0, MOST_RETRY_AFTER_S)))


def retry_after_s(value: str | None, now_ms: int) -> float | None:
    """Seconds of a ``Retry-After`` (RFC 9110, 10.2.3): a number, or an HTTP date. None if it cannot be read."""
    if value is None:
        return None
    text = value.strip()
    if text.isdecimal() and text.isascii():
        return float(text)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.fromtimestamp(now_ms / 1000, UTC)).total_seconds())


def verdict(due: Due, answer: Answer) -> Tried:
    """What becomes of a delivery after this answer."""
    account = answer.account()
    if answer.is_success:
        return Tried(due.id, due.attempt, "delivered", account)
    if answer.status == 410:
        return Tried(due.id, due.attempt, "failed", account, disable="It answered 410 Gone.")
    if answer.blocked or due.event == TEST_EVENT:  # whoever sends a test looks at what comes of it
        return Tried(due.id, due.attempt, "failed", account)
    if due.step + 1 >= len(SCHEDULE_S):
        return Tried(due.id, due.attempt, "exhausted", account)
    return Tried(due.id, due.attempt, "again", account, delay_ms(due.step + 1, answer.retry_after_s))


def skipped(due: Due, now_ms: int) -> Tried:
    """The circuit of the destination is open: on to the next time, without a try."""
    error = "circuit-open: the endpoint failed again and again, and is asked now and then whether it is back"
    return Tried(
        due.id, due.attempt, "skipped", Answer(now_ms, 0, error=error).account(), delay_ms(due.step + 1)
    )
