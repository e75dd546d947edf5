"""The guarded httpx client."""

from __future__ import annotations

import ssl
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore
import httpx

from callboard_shared.outbound.dialing import Dialer, Resolve, UrlBlocked
from callboard_shared.urls import Policy, UrlNotAllowed, check_url

_HEADERS = {"User-Agent": "Callboard/0.1", "Accept": "*/*", "Accept-Encoding": "identity"}
ENCODED = "callboard.content_encoding"
"""In the extensions of a response: how its body is encoded, though that was not asked for."""


def open_client(
    policy: Policy,
    *,
    timeout: httpx.Timeout | float = 15,
    limits: httpx.Limits | None = None,
    tls: ssl.SSLContext | None = None,
    resolve: Resolve | None = None,
    network: httpcore.AsyncNetworkBackend | None = None,
) -> httpx.AsyncClient:
    """A client for URLs that users gave; close it. Pass them through ``check_url`` first, for the form it gives.

    A request raises UrlBlocked, with nothing sent, where its URL or any address of its host is not allowed, else as
    httpx does. Redirects are answers, bodies are never decompressed, cookies are forgotten. ``timeout`` is that of
    each step (httpx.Timeout); bound the whole with ``asyncio.timeout``. ``tls``: the certificates that are trusted;
    certifi's, or those of SSL_CERT_FILE, if not given. ``resolve`` and ``network`` take the place of the system's.
    """
    transport = _GuardedTransport(
        policy, Dialer(policy, resolve, network), tls or _public_tls(), limits or httpx.Limits()
    )
    return httpx.AsyncClient(
        transport=transport,
        timeout=timeout,
        headers=_HEADERS,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        follow_redirects=False,
        trust_env=False,
    )


@cache
def _public_tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


class _GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's own, on connections that a ``Dialer`` makes: its constructor has no place for one."""

    def __init__(self, policy: Policy, dialer: Dialer, tls: ssl.SSLContext, limits: httpx.Limits) -> None:
        self._policy = policy
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=dialer,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            check_url(str(request.url), self._policy)  # as httpx reads it, which is what will be asked
        except UrlNotAllowed as error:
            raise UrlBlocked(error.detail) from None
        response = await super().handle_async_request(request)
        if encoding := response.headers.pop("Content-Encoding", None):
            response.extensions[ENCODED] = encoding
        return response
