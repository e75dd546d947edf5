"""When a webhook is tried again, and what an answer means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import orjson
import pytest

from callboard_courier.delivery.schedule import (
    JITTER,
    MOST_RETRY_AFTER_S,
    SCHEDULE_S,
    Answer,
    delay_ms,
    retry_after_s,
    skipped,
    verdict,
)
from callboard_shared.ledger.deliveries import Due

NOW_MS = 1_800_000_000_000


def due(step: int = 0) -> Due:
    return Due(
        "whd_1", 3, False, ("whsec_eA==",), "key_a", "job.failed", "evt_1", "job_1", "nlp", "nlp.embed", 1, NOW_MS,
        "https://example.com/hook", step,
    )  # fmt: skip


def answered(status: int | None, **more: object) -> Answer:
    return Answer(NOW_MS, 12, status, **more)  # type: ignore[arg-type]


def test_the_schedule_is_that_of_standard_webhooks() -> None:
    minute, hour = 60, 3600
    assert (
        0, 5, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour,
    ) == SCHEDULE_S  # fmt: skip


@pytest.mark.parametrize("step", range(1, 10))
def test_every_wait_is_kept_within_ten_percent_and_differs(step: int) -> None:
    waits = [delay_ms(step) / 1000 for _ in range(500)]
    assert all(abs(wait - SCHEDULE_S[step]) <= SCHEDULE_S[step] * min(JITTER, 0.1) for wait in waits)
    assert len(set(waits)) > 100


def test_a_receiver_may_ask_for_more_time_but_not_for_less_nor_for_ever() -> None:
    assert delay_ms(1, 60) == 60_000
    assert delay_ms(1, 1) >= 5_000 * (1 - JITTER)
    assert delay_ms(1, 10**9) == MOST_RETRY_AFTER_S * 1000


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7),
        (" 7 ", 7),
        ("soon", None),
        ("-3", None),
        ("1e3", None),
        ("²", None),
        ("", None),
    ],
)
def test_retry_after_is_a_number_or_nothing(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW_MS) == seconds


def test_retry_after_may_be_a_date() -> None:
    moment = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    assert retry_after_s(format_datetime(moment + timedelta(minutes=2), usegmt=True), NOW_MS) == 120
    assert retry_after_s(format_datetime(moment - timedelta(minutes=2), usegmt=True), NOW_MS) == 0


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_2xx_is_success(status: int) -> None:
    assert verdict(due(), answered(status)).outcome == "delivered"


@pytest.mark.parametrize("status", [None, 199, 300, 301, 304, 400, 404, 429, 500, 503])
def test_everything_else_is_tried_again(status: int | None) -> None:
    tried = verdict(due(), answered(status))
    assert (tried.outcome, tried.attempt, tried.disable) == ("again", 3, "")
    assert tried.delay_ms == pytest.approx(5_000, rel=JITTER)


def test_after_the_tenth_try_nothing_comes() -> None:
    assert verdict(due(step=8), answered(500)).outcome == "again"
    assert verdict(due(step=9), answered(500)).outcome == "exhausted"


def test_410_ends_the_delivery_and_its_endpoint() -> None:
    tried = verdict(due(), answered(410))
    assert (tried.outcome, tried.disable) == ("failed", "It answered 410 Gone.")


def test_a_blocked_url_is_not_tried_again() -> None:
    assert verdict(due(), answered(None, blocked=True, error="url-blocked: no")).outcome == "failed"


def test_retry_after_puts_off_the_next_try() -> None:
    assert verdict(due(), answered(429, retry_after_s=30.0)).delay_ms == 30_000


def test_an_account_says_what_happened() -> None:
    account = orjson.loads(verdict(due(), answered(500, response="no")).account)
    assert account == {"at": NOW_MS, "status_code": 500, "latency_ms": 12, "response": "no", "error": None}


def test_a_skipped_try_goes_on_to_the_next_time_and_says_why() -> None:
    tried = skipped(due(step=2), NOW_MS)
    assert tried.outcome == "skipped" and tried.delay_ms == pytest.approx(1_800_000, rel=JITTER)
    assert orjson.loads(tried.account)["error"].startswith("circuit-open: ")
