from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from callboard_client import Retries
from callboard_client._retries import retry_after_s


def test_pauses_double_up_to_the_longest_and_then_end() -> None:
    retries = Retries(times=5, first_s=1, longest_s=6, draw=lambda: 1.0)
    assert [retries.pause(tries) for tries in range(1, 7)] == [1, 2, 4, 6, 6, None]


def test_pauses_are_drawn_from_the_upper_half() -> None:
    assert Retries(first_s=1, draw=lambda: 0.0).pause(1) == 0.5


def test_the_gateways_retry_after_is_obeyed_within_the_bound() -> None:
    retries = Retries(first_s=1, longest_s=10, draw=lambda: 1.0)
    assert retries.pause(1, retry_after_s=7) == 7
    assert retries.pause(1, retry_after_s=0) == 1
    assert retries.pause(1, retry_after_s=11) is None


@pytest.mark.parametrize(("text", "seconds"), [("3", 3), ("-3", 0), ("", None), ("soon", None)])
def test_retry_after_is_read_as_seconds(text: str, seconds: float | None) -> None:
    assert retry_after_s(httpx.Response(503, headers={"retry-after": text})) == seconds


def test_retry_after_is_read_as_a_date() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    found = retry_after_s(httpx.Response(503, headers={"retry-after": moment}))
    assert found is not None
    assert 25 < found <= 30
