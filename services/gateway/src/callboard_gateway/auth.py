"""Who is asking: an API key in ``Authorization: Bearer cb_…``, or a session of the console.

A route says what it needs: ``Annotated[Authenticated, Depends(require("jobs:read"))]``; a plain ASGI route calls
``await app.state.keyring.authenticate(scope, "jobs:write")``. The scope ``admin`` includes the others; it opens
the operating routes (keys, pause, resume, metrics), and does not show another key's jobs.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Security
from fastapi.security import HTTPBearer
from starlette.types import Scope

from callboard_gateway.rate_limit import RateLimiter
from callboard_gateway.sessions import CSRF_HEADER, check_origin, find_session
from callboard_shared.access import NO_LIMITS, SCOPES, KeyLimits, KeyRecord, find_key, put_key
from callboard_shared.errors import Forbidden, Unauthorized
from callboard_shared.ledger import AsyncLedger

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REFUSED = "Send a valid API key as 'Authorization: Bearer cb_…'. An admin makes keys with POST /v1/keys."
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"

bearer = HTTPBearer(scheme_name="ApiKey", description="An API key, `cb_…`; see `/v1/keys`.", auto_error=False)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The key behind a request. ``owner`` is its id: what it submits and stores belongs to that."""

    owner: str
    name: str
    scopes: frozenset[str]
    limits: KeyLimits = NO_LIMITS

    def require(self, scope: str) -> None:
        if scope not in self.scopes and "admin" not in self.scopes:
            raise Forbidden(f"This key lacks the scope '{scope}'. Use a key that has it.")


class KeyRing:
    """Finds the key of a request. A key is believed for ``cache_s`` seconds before the ledger is asked again."""

    def __init__(
        self,
        ledger: AsyncLedger,
        limiter: RateLimiter,
        *,
        cache_s: float = 2,
        admin_secret: str | None = None,
    ) -> None:
        self._ledger = ledger
        self._limiter = limiter
        self._cache_s = cache_s
        self._admin_secret = admin_secret
        self._admin_digest = hashlib.sha256(admin_secret.encode()).digest() if admin_secret else None
        self._cache: dict[bytes, tuple[float, KeyRecord, Authenticated]] = {}
        self._limits: dict[str, KeyLimits] = {}

    async def authenticate(self, scope: Scope, needs: str | None = None) -> Authenticated:
        """The key of this request, counted against its rate limit.

        Raises Unauthorized (the same for no, a bad, a revoked and an expired key), Forbidden when ``needs``
        is not among its scopes, LimitReached.
        """
        caller = await self.identify(scope, needs)
        await self.count(caller.owner, caller.limits, scope)
        return caller

    async def identify(self, scope: Scope, needs: str | None = None) -> Authenticated:
        """As ``authenticate``, without counting; for asking again whether a long answer may go on."""
        secret: bytes | None = None
        cookie = False
        for name, value in scope["headers"]:
            if name == b"authorization":
                kind, _, rest = value.partition(b" ")
                secret = rest.strip() if kind.lower() == b"bearer" else b""
            elif name == b"cookie":
                cookie = True
        caller = await self._by_session(scope) if secret is None and cookie else None
        if caller is None:
            caller = await self.by_secret(secret or b"")
        if needs is not None:
            caller.require(needs)
        return caller

    def limits_of(self, owner: str) -> KeyLimits:
        """A key's own, as they were when it was last let in."""
        return self._limits.get(owner, NO_LIMITS)

    async def count(self, owner: str, limits: KeyLimits, scope: Scope) -> None:
        """One more request of this key; for pages, which find out by themselves whose they are. Raises LimitReached."""
        if limits != NO_LIMITS:
            self._limits[owner] = limits
        elif owner in self._limits:
            del self._limits[owner]
        await self._limiter.take(owner, scope["callboard.headers"], limits.requests_per_s, limits.burst)

    async def by_secret(self, secret: bytes) -> Authenticated:
        """The key with this secret. Every refusal takes the same way, one look-up, so that none is faster."""
        digest = hashlib.sha256(secret).digest()
        now = time.monotonic()
        cached = self._cache.get(digest)
        if cached is not None and cached[0] > now and not expired(cached[1]):
            return cached[2]
        record = await self._ledger.run(find_key(digest.hex()))
        if record is None and self._is_admin(digest):
            record = await self._put_admin()
        if record is None or expired(record):
            self._cache.pop(digest, None)
            raise Unauthorized(_REFUSED)
        caller = Authenticated(record.id, record.name, frozenset(record.scopes), record.limits)
        if len(self._cache) >= 10_000:
            self._cache.clear()
        self._cache[digest] = (now + self._cache_s, record, caller)
        return caller

    def forget(self, key_id: str) -> None:
        """A key was changed or deleted: do not believe what is known of it a moment longer."""
        self._cache = {digest: entry for digest, entry in self._cache.items() if entry[1].id != key_id}

    async def admin(self) -> KeyRecord | None:
        """The key that CALLBOARD_ADMIN_KEY sets, written to the ledger if it is not there."""
        if self._admin_secret is None:
            return None
        digest = hashlib.sha256(self._admin_secret.encode()).hexdigest()
        return await self._ledger.run(find_key(digest)) or await self._put_admin()

    def _is_admin(self, digest: bytes) -> bool:
        """Digests are compared, of one length each, so that the time tells nothing of the secret's either."""
        return self._admin_digest is not None and hmac.compare_digest(digest, self._admin_digest)

    async def _put_admin(self) -> KeyRecord:
        assert self._admin_secret is not None
        record = admin_record(self._admin_secret)
        await self._ledger.run(put_key(record, self._admin_secret))
        return record

    async def _by_session(self, scope: Scope) -> Authenticated | None:
        """The key that is signed in, if one is; a request that changes something must come from our own page."""
        request = Request(scope)
        session = await find_session(request)
        if session is None:
            return None
        if scope["method"] not in _SAFE_METHODS:
            check_origin(request)
            if not _from_our_page(request, session.csrf):
                raise Forbidden(
                    "A session changes things only from the console's pages; programs use an API key."
                )
        return Authenticated(session.owner, session.name, frozenset(session.scopes), session.key.limits)


def _from_our_page(request: Request, csrf: str) -> bool:
    """Whether the browser says that our own page made the request, or the request carries the page's token."""
    token = request.headers.get(CSRF_HEADER)
    if token is not None:
        return hmac.compare_digest(token.encode(), csrf.encode())
    return (
        "sec-fetch-site" in request.headers or "origin" in request.headers
    )  # of which check_origin approved


def admin_record(secret: str) -> KeyRecord:
    """The record of CALLBOARD_ADMIN_KEY: its id follows from the secret, so that every gateway makes the same."""
    number = int.from_bytes(hashlib.sha256(b"callboard admin key id " + secret.encode()).digest()[:16], "big")
    key_id = "key_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
    prefix = "_".join(secret.split("_")[:2])[:11]
    return KeyRecord(key_id, "admin (CALLBOARD_ADMIN_KEY)", prefix, SCOPES, int(time.time() * 1000))


def expired(record: KeyRecord) -> bool:
    return record.expires_ms is not None and record.expires_ms <= time.time() * 1000


async def authenticate_key(request: Request, secret: str) -> Authenticated:
    """Who this API key is, for a form that brings it in a field. Raises Unauthorized."""
    keyring: KeyRing = request.app.state.keyring
    return await keyring.by_secret(secret.encode("utf-8", "surrogatepass"))


def require(needs: str) -> Callable[..., Awaitable[Authenticated]]:
    """The dependency of a route that needs a scope. The OpenAPI document says so: OpenAPI 3.1 lets any security
    requirement list the roles that it takes."""
    if needs not in SCOPES:
        raise ValueError(f"{needs!r} is no scope; there are {SCOPES}")

    async def authenticated(request: Request, _: Any = Security(bearer, scopes=[needs])) -> Authenticated:
        keyring: KeyRing = request.app.state.keyring
        request.state.caller = await keyring.authenticate(request.scope, needs)
        return request.state.caller  # type: ignore[no-any-return]

    return authenticated
