"""How many requests a key may send: a token bucket a key, in this process."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from callboard_shared.errors import LimitReached

_MAX_BUCKETS = 50_000

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RateLimiter:
    """``rate`` requests a second in the mean, ``burst`` at once; a rate of 0 limits nothing.

    The headers are those of draft-ietf-httpapi-ratelimit-headers: a policy of ``burst`` requests in the
    window that refills it, and what is left of that.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._buckets: dict[str, _Bucket] = {}
        window = math.ceil(burst / rate) if rate else 0
        self._policy = (b"ratelimit-policy", f'"requests";q={burst};w={window}'.encode())

    def take(self, owner: str, headers: Headers) -> None:
        """Count one request of ``owner``; what its answer says of the limit joins ``headers``.

        Raises LimitReached (429).
        """
        if not self._rate:
            return
        now = time.monotonic()
        bucket = self._buckets.get(owner)
        if bucket is None:
            self._make_room(now)
            bucket = self._buckets[owner] = _Bucket(self._burst, now)
        tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
        allowed = tokens >= 1
        bucket.tokens, bucket.at = tokens - allowed, now
        refill = math.ceil((self._burst - bucket.tokens) / self._rate)
        headers += (self._policy, (b"ratelimit", b'"requests";r=%d;t=%d' % (bucket.tokens, refill)))
        if not allowed:
            raise LimitReached(
                f"This key may send {self._rate:g} requests a second, {self._burst:,.0f} at once. Wait as Retry-After "
                "says, or send many jobs in one request with POST /v1/jobs:batch.",
                retry_after_s=(1 - tokens) / self._rate,
            )

    def _make_room(self, now: float) -> None:
        """A bucket that would be full again says nothing: forget those when there are many."""
        if len(self._buckets) >= _MAX_BUCKETS:
            full_after = self._burst / self._rate
            self._buckets = {k: b for k, b in self._buckets.items() if now - b.at < full_after}
