"""Connections to judged addresses: the part of the client below TLS (httpcore's network backend)."""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from ipaddress import ip_address
from typing import TypeAlias

import anyio
import httpcore

from callboard_shared.addresses import reach, resolved_reach
from callboard_shared.errors import FinalError
from callboard_shared.urls import Host, Policy, read_host

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a name, in the order in which they are to be tried. Raises OSError."""

_LOOPBACK = ("127.0.0.1", "::1")
_RESOLUTIONS = 64
"""At a time: a name whose servers are silent keeps a thread for half a minute."""


class UrlBlocked(FinalError):
    """The URL leads to where it must not: nothing was sent there."""

    code = "url-blocked"
    title = "This URL is blocked"


class Resolver:
    """The system's, in threads of its own that nobody waits for in vain."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(_RESOLUTIONS)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await anyio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._limiter)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Dialer(httpcore.AsyncNetworkBackend):
    """Resolves a name once, refuses it if any address is not allowed, and connects to one that was judged.

    A name may not lead to this machine; what names this machine as it is written is never looked up (RFC 6761, 6.3).
    """

    def __init__(
        self,
        policy: Policy,
        resolve: Resolve | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._policy = policy
        self._resolve = resolve or Resolver()
        self._network = network or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        until = None if timeout is None else time.monotonic() + timeout
        addresses = await self.addresses(host, port, timeout)
        failure: Exception | None = None
        for left in range(len(addresses), 0, -1):  # each gets its share of the time that is left
            share = None if until is None else max(0.001, (until - time.monotonic()) / left)
            try:
                return await self._network.connect_tcp(
                    addresses[-left], port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address")

    async def addresses(self, host: str, port: int, timeout: float | None) -> Sequence[str]:
        """Where connections to ``host`` may go, all judged. Raises UrlBlocked, and httpcore's errors where there is no
        answer."""
        try:
            read = read_host(host)
        except ValueError as why:
            raise UrlBlocked(f"The URL is blocked: {why}.") from None
        if read.is_loopback:
            return self._of_this_machine(read)
        if read.address is not None:
            public, found = reach(read.address) == "public", [read.name]
        else:
            found = list(await self._look_up(read.name, port, timeout))
            public = all(map(_is_public, found))
        if not public:
            raise UrlBlocked(
                f"{read.name} leads to an address that is not public; nothing was sent there. Give a URL that can be "
                "reached from the internet."
            )
        return found

    def _of_this_machine(self, host: Host) -> Sequence[str]:
        if not self._policy.allow_private:
            raise UrlBlocked(
                f"{host.name} is the machine that Callboard runs on; the operator may allow that "
                "(CALLBOARD_WEBHOOK_ALLOW_PRIVATE)."
            )
        return _LOOPBACK if host.address is None else (host.name,)

    async def _look_up(self, name: str, port: int, timeout: float | None) -> Sequence[str]:
        try:
            with anyio.fail_after(timeout):
                return await self._resolve(name, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"{name} could not be resolved in time") from None
        except OSError as error:
            raise httpcore.ConnectError(f"{name} could not be resolved") from error


def _is_public(address: str) -> bool:
    try:
        return resolved_reach(ip_address(address)) == "public"
    except ValueError:
        return False
