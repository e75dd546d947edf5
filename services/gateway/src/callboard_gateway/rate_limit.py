"""How many requests a key may send, counted in the ledger's Redis, so that several gateways count together.

A gateway takes allowances of a few requests at a time, since asking for each would cost it a third of its throughput.
What is left of an allowance lapses after a second, so a slow key is counted a little high, by one allowance a second
and gateway at most.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, ReadOnlyError, RedisError

from callboard_shared import redis_address
from callboard_shared.errors import LedgerError, LimitReached
from callboard_shared.ledger import keys
from callboard_shared.ledger.client import ledger_errors
from callboard_shared.settings import LedgerSettings

log = structlog.get_logger(__name__)

_ALLOWANCES = 50
"""A burst is taken in so many parts."""
_HELD_S = 1.0
_PATIENCE_S = 0.25
_AWAY_S = 5.0
"""So long nobody is asked, after Redis did not answer: what needs the ledger will say that it is away."""
_MOST_KEYS = 50_000

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class _Allowance:
    """``left`` requests of this gateway until ``until``; ``remaining``: of the window when it was taken, without them;
    ``reset_at``: when the next window begins."""

    left: int = 0
    until: float = 0.0
    remaining: int = 0
    reset_at: float = 0.0


class RateLimiter:
    """``rate`` requests a second in the mean, ``burst`` at once, unless a key has limits of its own: ``burst`` in each
    window of ``burst / rate`` seconds. A rate of 0 limits nothing.

    The headers are those of draft-ietf-httpapi-ratelimit-headers: the policy, and what is left in this window.
    """

    def __init__(
        self, storage: Storage | None, rate: float, burst: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._limits = None if storage is None else FixedWindowRateLimiter(storage)
        self._rate, self._burst, self._clock = rate, burst, clock
        self._allowances: dict[str, _Allowance] = {}
        self._away_until = 0.0

    async def take(
        self, owner: str, headers: Headers, rate: float | None = None, burst: int | None = None
    ) -> None:
        """Count one request of ``owner``; what its answer says of the limit joins ``headers``.

        Raises LimitReached (429).
        """
        rate = self._rate if rate is None else rate
        burst = self._burst if burst is None else burst
        if not rate or self._limits is None:
            return
        window = max(1, math.ceil(burst / rate))
        now = self._clock()
        allowance = self._allowances.get(owner)
        if allowance is None or allowance.left < 1 or allowance.until <= now:
            if now < self._away_until:
                return
            allowance = await self._taken(owner, RateLimitItemPerSecond(burst, window, "cb"), burst)
            if allowance is None:
                return
        allowed = allowance.left >= 1
        allowance.left -= allowed
        reset = min(window, max(1, math.ceil(allowance.reset_at - now)))
        left = b'"requests";r=%d;t=%d' % (allowance.remaining + allowance.left, reset)
        headers += ((b"ratelimit-policy", f'"requests";q={burst};w={window}'.encode()), (b"ratelimit", left))
        if not allowed:
            raise LimitReached(
                f"This key may send {rate:g} requests a second, {burst:,.0f} at once. Wait as Retry-After "
                "says, or send many jobs in one request with POST /v1/jobs:batch.",
                retry_after_s=reset,
            )

    async def _taken(self, owner: str, limit: RateLimitItemPerSecond, burst: int) -> _Allowance | None:
        """A new allowance, which is empty at the limit; None where Redis does not answer."""
        assert self._limits is not None
        size = max(1, burst // _ALLOWANCES)
        try:
            with ledger_errors():
                while not (given := await self._limits.hit(limit, owner, cost=size)) and size > 1:
                    size = 1
                stats = await self._limits.get_window_stats(limit, owner)
        except (LedgerError, RedisError) as error:
            self._away_until = self._clock() + _AWAY_S
            log.warning("rate_limit.not_counted", reason=type(error.__cause__ or error).__name__)
            return None
        now = self._clock()
        if len(self._allowances) >= _MOST_KEYS:
            self._allowances = {key: one for key, one in self._allowances.items() if one.until > now}
        allowance = _Allowance(size if given else 0, now + _HELD_S, stats.remaining, stats.reset_time)
        self._allowances[owner] = allowance
        return allowance


class SharedCounters(RedisStorage):
    """Counters in the ledger's Redis."""

    def __init__(self, settings: LedgerSettings) -> None:
        self._pool = redis_address.async_pool(
            settings.redis_url.get_secret_value(),
            retry=Retry(NoBackoff(), retries=1, supported_errors=(ConnectionError, ReadOnlyError)),
            socket_timeout=_PATIENCE_S,
            socket_connect_timeout=_PATIENCE_S,
        )
        super().__init__(
            "async+redis://",  # not looked at: the pool says where it is
            implementation="redispy",
            key_prefix=keys.RATE_LIMITS,
            connection_pool=self._pool,  # type: ignore[arg-type] # as its documentation says
        )

    async def close(self) -> None:
        await redis_address.aclose(self._pool)
