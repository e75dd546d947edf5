"""Fetching what an input names by URL, into a file: bounded in size, in time and in how slowly it may arrive.

What waits too long ends the job (``fetch-timeout``, ``fetch-too-large``): another attempt would wait as long again.
What fails at once is tried again where that may help: ``fetch-failed``, retryable for a server that is away or
overloaded, final for one that says no.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, BinaryIO, Self, TypedDict, TypeVar, Unpack
from urllib.parse import unquote, urljoin, urlsplit

import httpcore
import httpx

from callboard_shared.errors import FinalError, JobError, RetryableError
from callboard_shared.file_names import clean_name
from callboard_shared.outbound.client import ENCODED, open_client
from callboard_shared.outbound.dialing import Resolve, UrlBlocked
from callboard_shared.settings import OutboundSettings
from callboard_shared.urls import Policy, UrlNotAllowed, check_url, read_host, shown_host

T = TypeVar("T")

_CHECK_S = 0.25
_LONGEST_RETRY_AFTER_S = 120
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class FetchTooLarge(FinalError):
    code = "fetch-too-large"
    title = "The file behind the URL is too large"


class FetchTimeout(FinalError):
    code = "fetch-timeout"
    title = "The file behind the URL did not arrive in time"


class FetchFailed(FinalError):
    code = "fetch-failed"
    title = "The file behind the URL could not be fetched"


class FetchUnavailable(RetryableError):
    code = "fetch-failed"
    title = "The file behind the URL could not be fetched"


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """``answer_s``: until the first byte of an answer. ``min_bytes_per_s``: on average over each ``window_s``, the
    last one excepted; 0: at least something within each."""

    max_bytes: int
    total_s: float
    min_bytes_per_s: int = 1024
    window_s: float = 10
    answer_s: float = 30
    redirects: int = 3

    @classmethod
    def of(cls, settings: OutboundSettings, max_bytes: int | None = None) -> Self:
        """The operator's; ``max_bytes``: of this use, where that is less."""
        most = settings.fetch_max_bytes if max_bytes is None else min(max_bytes, settings.fetch_max_bytes)
        return cls(most, settings.fetch_timeout_s, settings.fetch_min_bytes_per_s)


@dataclass(frozen=True, slots=True)
class Fetched:
    """``name``: the last part of the URL's path, made safe. ``media_type``: what the server says, which may be wrong:
    judge the content by its bytes (``media_types``)."""

    name: str
    bytes: int
    media_type: str


class Wiring(TypedDict, total=False):
    """What takes the place of the system's, as of ``open_client``."""

    tls: ssl.SSLContext
    resolve: Resolve
    network: httpcore.AsyncNetworkBackend


def fetch(
    url: str,
    policy: Policy,
    limits: FetchLimits,
    into: BinaryIO,
    *,
    check: Callable[[], None] = lambda: None,
    **wiring: Unpack[Wiring],
) -> Fetched:
    """Write what is at ``url`` into the file ``into``. Blocks; for threads without an event loop of their own.

    ``check`` is called four times a second; what it raises ends the fetch, and is raised. Raises UrlNotAllowed for a
    URL that should not have been accepted, UrlBlocked, FetchTooLarge, FetchTimeout, FetchFailed or FetchUnavailable,
    and OSError if ``into`` takes no more.
    """
    return asyncio.run(_watched(download(url, policy, limits, into, **wiring), check))


async def _watched(work: Coroutine[Any, Any, T], check: Callable[[], None]) -> T:
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            check()
            await asyncio.wait({task}, timeout=_CHECK_S)
        return task.result()
    finally:
        task.cancel()  # does nothing to one that is done
        await asyncio.wait({task})


async def download(
    url: str, policy: Policy, limits: FetchLimits, into: BinaryIO, **wiring: Unpack[Wiring]
) -> Fetched:
    """``fetch`` for an event loop; the writes to ``into`` block it."""
    url = check_url(url, policy)
    clock = asyncio.timeout(limits.total_s)
    arrival = _Arrival(limits, clock)
    try:
        async with clock, open_client(policy, timeout=limits.answer_s, **wiring) as client:
            return await _follow(client, url, policy, limits, into, arrival)
    except (TimeoutError, httpx.TimeoutException):
        raise _too_slow(shown_host(url), arrival.bytes, limits) from None
    except (
        httpx.HTTPError,
        httpx.InvalidURL,
        ssl.SSLError,
    ) as error:  # httpx lets those of a broken record pass
        raise _broken(shown_host(url), error) from None


class _Arrival:
    """Counts what arrives and moves the deadline: a window's share must come within it, then the next one opens."""

    def __init__(self, limits: FetchLimits, clock: asyncio.Timeout) -> None:
        self._limits, self._clock = limits, clock
        self._end = asyncio.get_running_loop().time() + limits.total_s
        self._lacking = 0.0
        self.bytes = 0

    def await_answer(self) -> None:
        self._wait_for(self._limits.answer_s)

    def open_window(self) -> None:
        self._lacking = self._limits.min_bytes_per_s * self._limits.window_s
        self._wait_for(self._limits.window_s)

    def add(self, size: int) -> None:
        self.bytes += size
        self._lacking -= size
        if self._lacking <= 0:
            self.open_window()

    def _wait_for(self, seconds: float) -> None:
        self._clock.reschedule(min(self._end, asyncio.get_running_loop().time() + seconds))


async def _follow(
    client: httpx.AsyncClient,
    url: str,
    policy: Policy,
    limits: FetchLimits,
    into: BinaryIO,
    arrival: _Arrival,
) -> Fetched:
    for _ in range(limits.redirects + 1):
        arrival.await_answer()
        response = await client.send(client.build_request("GET", url), stream=True)
        try:
            if not response.has_redirect_location:
                await _receive(response, shown_host(url), limits.max_bytes, into, arrival)
                return Fetched(_name(url), arrival.bytes, _media_type(response))
            url = _next(url, response.headers["Location"], policy)
        finally:
            await response.aclose()
    raise FetchFailed(
        f"{shown_host(url)} is the end of more than {limits.redirects} redirects. Give the URL of the file itself."
    )


def _next(url: str, location: str, policy: Policy) -> str:
    """Where a redirect leads, judged as the first URL was; it never leads from elsewhere to this machine."""
    here = shown_host(url)
    try:
        there = check_url(urljoin(url, location), policy, "a redirect")
    except (UrlNotAllowed, ValueError):
        raise _blocked(here) from None
    if read_host(shown_host(there)).is_loopback and not read_host(here).is_loopback:
        raise _blocked(here)
    return there


def _blocked(host: str) -> UrlBlocked:
    return UrlBlocked(
        f"{host} redirects to a URL that is not allowed; nothing was sent there. Give the https URL of the file itself."
    )


async def _receive(
    response: httpx.Response, host: str, max_bytes: int, into: BinaryIO, arrival: _Arrival
) -> None:
    if response.status_code != httpx.codes.OK:
        raise _refused(response, host)
    if encoding := response.extensions.get(ENCODED):
        raise FetchFailed(
            f"{host} sends the file compressed ({encoding[:40]}), though it was asked not to. Give a URL that sends it "
            "as it is, or upload it with POST /v1/files."
        )
    if int(response.headers.get("Content-Length", 0)) > max_bytes:
        raise _too_large(host, max_bytes)
    arrival.open_window()
    async for chunk in response.aiter_raw():
        arrival.add(len(chunk))
        if arrival.bytes > max_bytes:
            raise _too_large(host, max_bytes)
        into.write(chunk)


def _name(url: str) -> str:
    return clean_name(unquote(urlsplit(url).path, errors="replace"))


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


# --- what is said of it: hosts alone, since the rest of a URL may hold secrets ---


def _too_large(host: str, max_bytes: int) -> FetchTooLarge:
    return FetchTooLarge(f"The file at {host} is larger than {max_bytes:,} bytes, which is the limit here.")


def _too_slow(host: str, came: int, limits: FetchLimits) -> FetchTimeout:
    if came == 0:
        return FetchTimeout(
            f"{host} sent nothing in time. See whether its URL answers, and submit the job again."
        )
    return FetchTimeout(
        f"{host} sent {came:,} bytes and then too few: a file must arrive within {limits.total_s:g} s, and at "
        f"{limits.min_bytes_per_s:,} bytes/s or more. Upload it with POST /v1/files instead."
    )


def _refused(response: httpx.Response, host: str) -> JobError:
    status = response.status_code
    if status in _BUSY:
        after = response.headers.get("Retry-After", "")
        pause = min(int(after), _LONGEST_RETRY_AFTER_S) if after.isascii() and after.isdigit() else None
        return FetchUnavailable(f"{host} answered {status} instead of the file.", retry_after_s=pause)
    return FetchFailed(
        f"{host} answered {status} instead of the file. Give a URL that answers 200 without a sign-in, or upload the "
        "file with POST /v1/files."
    )


def _broken(host: str, error: Exception) -> JobError:
    causes = tuple(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return FetchFailed(
            f"The certificate of {host} is not valid for it, or of nobody who is trusted here."
        )
    unknown = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
    if any(isinstance(cause, socket.gaierror) and cause.errno in unknown for cause in causes):
        return FetchFailed(f"There is no host {host}. Correct the URL and submit the job again.")
    return FetchUnavailable(f"{host} could not be reached, or broke off ({type(error).__name__}).")


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and len(found) < 10:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
