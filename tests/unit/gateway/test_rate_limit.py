"""A key may send so many requests a second, and some more at once."""

from __future__ import annotations

from typing import Any

import pytest
from limits.aio.storage import MemoryStorage
from redis.exceptions import ConnectionError as RedisConnectionError

from callboard_gateway.rate_limit import Headers, RateLimiter
from callboard_shared.errors import LimitReached


async def take(limiter: RateLimiter, owner: str = "a", **own: Any) -> dict[str, str]:
    headers: Headers = []
    await limiter.take(owner, headers, **own)
    return {name.decode(): value.decode() for name, value in headers}


async def taken(limiter: RateLimiter, owner: str = "a", **own: Any) -> int:
    """How many requests are let through until one is refused."""
    for number in range(10_000):
        try:
            await take(limiter, owner, **own)
        except LimitReached:
            return number
    raise AssertionError("there is no limit")


@pytest.mark.parametrize("burst", [1, 3, 99, 1000])
async def test_a_burst_is_let_through_and_no_more(burst: int) -> None:
    limiter = RateLimiter(MemoryStorage(), burst / 100, burst)
    assert await taken(limiter) == burst
    with pytest.raises(LimitReached) as caught:
        await take(limiter)
    assert caught.value.retry_after_s is not None and 90 < caught.value.retry_after_s <= 101


async def test_gateways_count_together() -> None:
    counters = MemoryStorage()
    gateways = [RateLimiter(counters, 1, 100), RateLimiter(counters, 1, 100)]
    assert await taken(gateways[0]) + await taken(gateways[1]) == 100
    for gateway in gateways:
        with pytest.raises(LimitReached):
            await take(gateway)


async def test_keys_do_not_share_a_limit() -> None:
    limiter = RateLimiter(MemoryStorage(), 0.01, 1)
    assert (await taken(limiter, "a"), await taken(limiter, "b")) == (1, 1)


async def test_a_key_may_have_a_limit_of_its_own() -> None:
    limiter = RateLimiter(MemoryStorage(), 1, 100)
    assert await taken(limiter, "a", rate=0.1, burst=7) == 7
    assert await taken(limiter, "b", burst=300) == 300


async def test_the_answer_says_what_is_left() -> None:
    limiter = RateLimiter(MemoryStorage(), 200, 1000)
    for left in (999, 998, 997):
        headers = await take(limiter)
        assert headers["ratelimit-policy"] == '"requests";q=1000;w=5'
        assert headers["ratelimit"].startswith(f'"requests";r={left};t=')


async def test_a_rate_of_zero_limits_nothing_and_says_nothing() -> None:
    limiter = RateLimiter(MemoryStorage(), 0, 1)
    assert [await take(limiter) for _ in range(5)] == [{}] * 5


async def test_what_is_left_of_an_allowance_lapses() -> None:
    now = [1000.0]
    counters = MemoryStorage()
    limiter = RateLimiter(counters, 10, 100, clock=lambda: now[0])
    await take(limiter)  # takes two
    now[0] += 2
    await take(limiter)
    assert await taken(RateLimiter(counters, 10, 100)) == 96


class Away(MemoryStorage):
    """Redis, while it does not answer."""

    asked = 0

    async def incr(self, *args: Any, **kwargs: Any) -> int:
        self.asked += 1
        raise RedisConnectionError


async def test_while_redis_is_away_nobody_is_held_up_or_refused() -> None:
    counters, now = Away(), [1000.0]
    limiter = RateLimiter(counters, 1, 1, clock=lambda: now[0])
    assert [await take(limiter) for _ in range(20)] == [{}] * 20
    assert counters.asked == 1, "it is not waited for again and again"
    now[0] += 10
    await take(limiter)
    assert counters.asked == 2
