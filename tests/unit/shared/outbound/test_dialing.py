"""A connection goes to an address that was judged, or nowhere."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

import httpcore
import pytest
from file_server import Network

from callboard_shared.outbound import Dialer, Policy, UrlBlocked

ALLOWING = Policy(allow_private=True)
PUBLIC, PRIVATE = "93.184.216.34", "10.0.0.7"


def dialer(network: Network, policy: Policy = ALLOWING) -> Dialer:
    return Dialer(policy, network.resolve, network)


@pytest.mark.parametrize(
    "addresses",
    [
        [PRIVATE],
        [PUBLIC, PRIVATE],
        [PUBLIC, "127.0.0.1"],
        ["::1"],
        ["169.254.169.254"],
        ["64:ff9b::a9fe:a9fe"],
        ["64:ff9b::7f00:1"],
        ["64:ff9b:1::808:808"],
        ["::ffff:8.8.8.8"],
        ["fe80::1%2"],
        ["nonsense"],
    ],
)
async def test_a_name_with_one_address_that_is_not_public_is_not_connected_to(addresses: list[str]) -> None:
    network = Network({"example.com": [addresses]})
    with pytest.raises(UrlBlocked) as caught:
        await dialer(network).connect_tcp("example.com", 443)
    assert caught.value.problem_code == "url-blocked" and caught.value.retryable is False
    assert network.dialled == []
    assert PRIVATE not in caught.value.detail, (
        "what the names of a private network stand for is nobody's business"
    )


async def test_a_name_is_resolved_once_and_the_connection_goes_to_that_address() -> None:
    network = Network({"example.com": [[PUBLIC], ["127.0.0.1"]]})
    with pytest.raises(httpcore.ConnectError):
        await dialer(network).connect_tcp("example.com", 443)
    assert network.resolved == ["example.com"]
    assert network.dialled == [(PUBLIC, 443)]


async def test_a_network_without_ipv4_reaches_public_ipv4_addresses_by_its_resolver() -> None:
    network = Network({"example.com": [["64:ff9b::808:808"]]})
    with pytest.raises(httpcore.ConnectError):
        await dialer(network).connect_tcp("example.com", 443)
    assert network.dialled == [("64:ff9b::808:808", 443)]


async def test_the_other_addresses_of_a_name_are_tried_in_turn() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        network = Network({"example.com": [["2606:4700::1111", PUBLIC]]}, {PUBLIC: listener.getsockname()[1]})
        stream = await dialer(network).connect_tcp("example.com", 443, timeout=5)
        await stream.aclose()
    assert network.dialled == [("2606:4700::1111", 443), (PUBLIC, 443)]


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "0xa9fea9fe", "10.1", "::ffff:10.0.0.1", "0.0.0.0", "fe80::1%1", "09.1.1.1"]
)
async def test_an_address_is_judged_however_it_is_written(host: str) -> None:
    network = Network()
    with pytest.raises(UrlBlocked):
        await dialer(network).connect_tcp(host, 443)
    assert network.dialled == [] and network.resolved == []


@pytest.mark.parametrize(
    ("host", "first"),
    [("localhost", "127.0.0.1"), ("a.localhost", "127.0.0.1"), ("127.1", "127.0.0.1"), ("::ffff:127.0.0.1", "127.0.0.1"), ("::1", "::1")],
)  # fmt: skip
async def test_this_machine_is_dialled_only_if_allowed_and_never_looked_up(host: str, first: str) -> None:
    network = Network()
    with pytest.raises(UrlBlocked, match="CALLBOARD_WEBHOOK_ALLOW_PRIVATE"):
        await dialer(network, Policy()).connect_tcp(host, 9000)
    assert network.dialled == []
    with pytest.raises(httpcore.ConnectError):
        await dialer(network).connect_tcp(host, 9000)
    assert network.dialled[0] == (first, 9000) and network.resolved == []


async def test_a_name_that_cannot_be_resolved_is_a_connection_that_failed() -> None:
    async def nowhere(name: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(httpcore.ConnectError):
        await Dialer(ALLOWING, nowhere, Network()).connect_tcp("example.com", 443)


async def test_a_silent_resolver_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer.wait(30) and [])
    network = Network()
    try:
        with pytest.raises(httpcore.ConnectTimeout):
            await Dialer(ALLOWING, None, network).connect_tcp("example.com", 443, timeout=0.05)
    finally:
        answer.set()
    assert network.dialled == []


async def test_the_systems_resolver_gives_each_address_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, 443)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2606:4700::1111", 443, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, 443)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    network = Network()
    with pytest.raises(httpcore.ConnectError):
        await Dialer(ALLOWING, None, network).connect_tcp("example.com", 443)
    assert network.dialled == [(PUBLIC, 443), ("2606:4700::1111", 443)]
