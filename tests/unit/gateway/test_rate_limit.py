"""A key may send so many requests a second, and some more at once."""

from __future__ import annotations

import pytest

from callboard_gateway import rate_limit
from callboard_gateway.rate_limit import Headers, RateLimiter
from callboard_shared.errors import LimitReached


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(rate_limit.time, "monotonic", lambda: now[0])
    return now


def take(limiter: RateLimiter, owner: str = "a") -> dict[str, str]:
    headers: Headers = []
    limiter.take(owner, headers)
    return {name.decode(): value.decode() for name, value in headers}


def test_a_burst_is_let_through_and_then_the_rate_holds(clock: list[float]) -> None:
    limiter = RateLimiter(2, 3)
    for _ in range(3):
        take(limiter)
    with pytest.raises(LimitReached) as caught:
        take(limiter)
    assert caught.value.retry_after_s == pytest.approx(0.5)
    clock[0] += 0.5
    take(limiter)
    with pytest.raises(LimitReached):
        take(limiter)


def test_a_refused_request_does_not_count(clock: list[float]) -> None:
    limiter = RateLimiter(1, 1)
    take(limiter)
    for _ in range(10):
        with pytest.raises(LimitReached):
            take(limiter)
    clock[0] += 1
    take(limiter)


def test_keys_do_not_share_a_limit(clock: list[float]) -> None:
    limiter = RateLimiter(1, 1)
    take(limiter, "a")
    take(limiter, "b")


def test_the_answer_says_what_is_left(clock: list[float]) -> None:
    limiter = RateLimiter(200, 1000)
    assert take(limiter) == {"ratelimit-policy": '"requests";q=1000;w=5', "ratelimit": '"requests";r=999;t=1'}


def test_a_rate_of_zero_limits_nothing_and_says_nothing(clock: list[float]) -> None:
    limiter = RateLimiter(0, 1)
    assert [take(limiter) for _ in range(5)] == [{}] * 5


def test_idle_keys_are_forgotten(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "_MAX_BUCKETS", 10)
    limiter = RateLimiter(1, 1)
    for number in range(100):
        take(limiter, str(number))
        clock[0] += 1
    assert len(limiter._buckets) <= 10
