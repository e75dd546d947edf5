"""The one place in which the courier opens connections to receivers.

The judging is that of ``callboard_shared.outbound``; the HTTP is aiohttp's, because posting with httpx takes ten times
the processor's time, and that is what bounds how many webhooks a courier delivers.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from types import TracebackType

import aiohttp
import httpcore
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from callboard_courier.delivery.schedule import Answer, retry_after_s
from callboard_shared.outbound import Dialer, Resolve, UrlBlocked
from callboard_shared.telemetry import without_secrets
from callboard_shared.urls import Policy, UrlNotAllowed, check_url

_MOST_SHOWN = 1_000
"""Bytes of an answer that are kept."""
_BODY_S = 2.0
"""How long the rest of an answer is read, once its status is there."""
_IDLE_S = 4.0
"""Shorter than servers keep an idle connection (5 s at uvicorn and Node), so that none is closed under a post."""


class JudgedAddresses(AbstractResolver):
    """aiohttp's way to addresses; it connects to nothing else. (It does not ask about an address that stands in the URL
    itself: that is judged with the URL.)"""

    def __init__(self, dialer: Dialer, timeout_s: float) -> None:
        self._dialer, self._timeout_s = dialer, timeout_s

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            addresses = await self._dialer.addresses(host, port, self._timeout_s)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise OSError(str(error)) from None
        return [
            ResolveResult(
                hostname=host, host=address, port=port, proto=0, flags=socket.AI_NUMERICHOST,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
            )
            for address in addresses
        ]  # fmt: skip

    async def close(self) -> None:
        return None


class Transport:
    """Posts webhooks. To be entered in the event loop that uses it. ``resolve`` takes the place of the system's."""

    def __init__(self, timeout_s: float, policy: Policy, resolve: Resolve | None = None) -> None:
        self._timeout_s, self._policy, self._resolve = timeout_s, policy, resolve

    async def __aenter__(self) -> Transport:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=_IDLE_S,
                resolver=JudgedAddresses(Dialer(self._policy, self._resolve), self._timeout_s),
                use_dns_cache=False,
                ssl=httpx.create_ssl_context(),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            trust_env=False,
            headers={
                "User-Agent": f"Callboard/{version('callboard-courier')}", "Content-Type": "application/json",
                "Accept-Encoding": "identity",
            },
        )  # fmt: skip
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, now_ms: int) -> Answer:
        """One try, whatever comes of it. ``now_ms``: the ledger's time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        status: int | None = None
        response = after = error = None
        blocked = False
        try:
            address = _address(url, self._policy)
            async with (
                asyncio.timeout(self._timeout_s),
                self._session.post(address, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                status, after = answer.status, answer.headers.get("Retry-After")
                took = loop.time() - began
                response = await _excerpt(answer)
        except (UrlBlocked, UrlNotAllowed) as reason:
            blocked, error = True, f"url-blocked: {reason.detail}"
        except TimeoutError:
            if status is None:
                error = f"timeout: no answer within {self._timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError) as reason:
            if status is None:
                error = explain(reason)
        if status is None:
            took = loop.time() - began
        elif 300 <= status < 400:
            error = f"redirect: {status} is not followed; give the URL it leads to"
        return Answer(
            now_ms, round(took * 1000), status, response, error, retry_after_s(after, now_ms), blocked
        )  # fmt: skip


@lru_cache(maxsize=4096)
def _address(url: str, policy: Policy) -> URL:
    """The URL as it is asked for. Raises UrlNotAllowed."""
    return URL(check_url(url, policy), encoded=True)


async def _excerpt(answer: aiohttp.ClientResponse) -> str:
    """The first bytes of the answer. One that does not end soon is not read on; its connection is closed."""
    shown = b""
    if answer.content.at_eof():
        return ""
    try:
        async with asyncio.timeout(_BODY_S):
            while len(shown) < _MOST_SHOWN:
                chunk = await answer.content.read(_MOST_SHOWN - len(shown))
                if not chunk:
                    break
                shown += chunk
    except (TimeoutError, aiohttp.ClientError):
        pass
    if not answer.content.at_eof():
        answer.close()
    return shown.decode("utf-8", "replace")


def explain(reason: Exception) -> str:
    """Why there was no answer, as ``code: sentence``."""
    said = without_secrets(str(reason) or type(reason).__name__)
    if isinstance(reason, aiohttp.ClientConnectorDNSError):
        return f"name-not-found: {reason.host} has no address"
    if isinstance(reason, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return f"tls: {said}"
    if isinstance(reason, aiohttp.ClientConnectorError | ConnectionRefusedError):
        return f"not-connected: {said}"
    if isinstance(reason, aiohttp.ServerDisconnectedError | ConnectionResetError):
        return "disconnected: the connection ended before an answer came"
    return f"not-http: {said}"
