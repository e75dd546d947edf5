"""Sessions of the console: who is signed in, and that a click came from our own page.

A session is a random secret in an HttpOnly cookie; the ledger holds its SHA-256 and the key's id, for
twelve hours. The key is looked up each time, so a revoked key ends its sessions at once. The CSRF token is an
HMAC keyed with the secret: whoever cannot read the cookie cannot make it, and nothing more need be stored.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fastapi import Request, Response

from callboard_shared import access
from callboard_shared.access import KeyRecord
from callboard_shared.errors import Forbidden
from callboard_shared.ledger import AsyncLedger

COOKIE = "callboard_session"
TTL_S = 12 * 3600
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
_MAX_SECRET = 100


class SignInNeeded(Exception):
    """The page needs a session, and the request has none that holds."""


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in: the secret of the cookie, and the key that it stands for."""

    secret: str = field(repr=False)
    key: KeyRecord

    @property
    def owner(self) -> str:
        return self.key.id

    @property
    def csrf(self) -> str:
        return hmac.new(self.secret.encode(), b"callboard csrf", hashlib.sha256).hexdigest()

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def scopes(self) -> tuple[str, ...]:
        return self.key.scopes

    @property
    def may_write(self) -> bool:
        return self.key.allows("jobs:write")


async def start_session(request: Request, response: Response, key_id: str) -> None:
    """Make a session for the key, and have ``response`` carry its cookie."""
    secret = access.new_secret()
    await request.app.state.ledger.run(access.put_session(secret, key_id, TTL_S))
    response.set_cookie(
        COOKIE, secret, max_age=TTL_S, httponly=True, samesite="lax", secure=request.url.scheme == "https"
    )


async def end_session(request: Request, response: Response) -> None:
    if secret := request.cookies.get(COOKIE):
        await request.app.state.ledger.run(access.delete_session(secret))
    response.delete_cookie(COOKIE, path="/")


async def find_session(request: Request) -> Session | None:
    """The session of the request's cookie; ``None`` if there is none, or its key is gone or has expired."""
    secret = request.cookies.get(COOKIE)
    if not secret or len(secret) > _MAX_SECRET:
        return None
    ledger: AsyncLedger = request.app.state.ledger
    key_id = await ledger.run(access.get_session(secret))
    key = await ledger.run(access.get_key(key_id)) if key_id else None
    if key is None or (key.expires_ms is not None and key.expires_ms <= time.time() * 1000):
        return None
    return Session(secret, key)


async def signed_in(request: Request) -> Session:
    """Dependency of pages that show something. Raises ``SignInNeeded``; ``Forbidden`` without jobs:read."""
    if (session := await find_session(request)) is None:
        raise SignInNeeded
    if not session.key.allows("jobs:read"):
        raise Forbidden("This key may not read jobs. Sign in with one that has the scope jobs:read.")
    return session


def check_origin(request: Request) -> None:
    """403 for what another site's page sent: browsers say where a POST comes from (programs do not)."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none"):
        raise Forbidden("That was sent by another site's page.", code="csrf")
    if origin and urlsplit(origin).netloc != request.headers.get("host"):
        raise Forbidden("That was sent by another site's page.", code="csrf")


async def own_form(request: Request) -> Session:
    """Dependency of every form of a signed-in page: sent by our own page, with its token."""
    check_origin(request)
    if (session := await find_session(request)) is None:
        raise SignInNeeded
    token = request.headers.get(CSRF_HEADER) or (await request.form()).get(CSRF_FIELD)
    if not isinstance(token, str) or not hmac.compare_digest(token.encode(), session.csrf.encode()):
        raise Forbidden("The page is stale or not ours. Load it again, and try once more.", code="csrf")
    return session


async def acting(request: Request) -> Session:
    """As ``own_form``, with a key that may write."""
    session = await own_form(request)
    if not session.may_write:
        raise Forbidden("This key may only read. Sign in with one that has the scope jobs:write.")
    return session
