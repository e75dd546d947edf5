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
from callboard_shared.access import SCOPES, KeyRecord, find_key, put_key
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
        self._cache: dict[bytes, tuple[float, KeyRecord, Authenticated]] = {}

    async def authenticate(self, scope: Scope, needs: str | None = None) -> Authenticated:
        """The key of this request, counted against its rate limit.

        Raises Unauthorized (the same for no, a bad, a revoked and an expired key), Forbidden when ``needs``
        is not among its scopes, LimitReached.
        """
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
        self.count(caller.owner, scope)
        return caller

    def count(self, owner: str, scope: Scope) -> None:
        """One more request of this key; for pages, which find out by themselves whose they are. Raises LimitReached."""
        self._limiter.take(owner, scope["callboard.headers"])

    async def by_secret(self, secret: bytes) -> Authenticated:
        """The key with this secret. Every refusal takes the same way, one look-up, so that none is faster."""
        digest = hashlib.sha256(secret).digest()
        now = time.monotonic()
        cached = self._cache.get(digest)
        if cached is not None and cached[0] > now and not expired(cached[1]):
            return cached[2]
        record = await self._ledger.run(find_key(digest.hex()))
        if record is None and self._is_admin(secret):
            record = await self._put_admin()
        if record is None or expired(record):
            self._cache.pop(digest, None)
            raise Unauthorized(_REFUSED)
        caller = Authenticated(record.id, record.name, frozenset(record.scopes))
        if len(self._cache) >= 10_000:
            self._cache.clear()
        self._cache[digest] = (now + self._cache_s, record, caller)
        return caller

    def forget(self, key_id: str) -> None:
        """A key was deleted: do not believe it a moment longer."""
        self._cache = {digest: entry for digest, entry in self._cache.items() if entry[1].id != key_id}

    async def admin(self) -> KeyRecord | None:
        """The key that CALLBOARD_ADMIN_KEY sets, written to the ledger if it is not there."""
        if self._admin_secret is None:
            return None
        digest = hashlib.sha256(self._admin_secret.encode()).hexdigest()
        return await self._ledger.run(find_key(digest)) or await self._put_admin()

    def _is_admin(self, secret: bytes) -> bool:
        return self._admin_secret is not None and hmac.compare_digest(secret, self._admin_secret.encode())

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
        return Authenticated(session.owner, session.name, frozenset(session.scopes))


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
    """The dependency of a route that needs a scope."""
    if needs not in SCOPES:
        raise ValueError(f"{needs!r} is no scope; there are {SCOPES}")

    async def authenticated(request: Request, _: Any = Security(bearer)) -> Authenticated:
        keyring: KeyRing = request.app.state.keyring
        return await keyring.authenticate(request.scope, needs)

    return authenticated
