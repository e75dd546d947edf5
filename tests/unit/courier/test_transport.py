"""Connections go to addresses that were judged, and to nothing else."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import httpcore
import pytest

from callboard_courier.delivery.transport import JudgedAddresses, Transport
from callboard_shared.outbound import Dialer, UrlBlocked
from callboard_shared.urls import Policy


class Names:
    """A resolver that knows some names, and remembers what it was asked."""

    def __init__(self, **known: list[str]) -> None:
        self.known = {name.replace("_", "."): addresses for name, addresses in known.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.known:
            raise OSError("unknown")
        return self.known[host]


async def test_a_name_leads_to_its_judged_addresses() -> None:
    names = Names(hooks_example_com=["93.184.215.14", "2606:4700::1111"])
    found = await JudgedAddresses(Dialer(Policy(), names), 1).resolve("hooks.example.com", 443)
    assert [(one["host"], one["family"], one["port"]) for one in found] == [
        ("93.184.215.14", socket.AF_INET, 443), ("2606:4700::1111", socket.AF_INET6, 443),
    ]  # fmt: skip
    assert names.asked == ["hooks.example.com"]  # once


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.8", "169.254.169.254", "::1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "fd00::1"]
)  # fmt: skip
async def test_a_name_of_which_any_address_is_not_public_is_blocked(address: str) -> None:
    names = Names(hooks_example_com=["93.184.215.14", address])
    with pytest.raises(UrlBlocked):
        await JudgedAddresses(Dialer(Policy(allow_private=True), names), 1).resolve("hooks.example.com", 443)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/", "https://169.254.169.254/", "https://[::ffff:169.254.169.254]/", "https://0x7f.1/",
     "https://hooks.example.com:22/", "http://hooks.example.com/", "https://rebound.example.com/"],
)  # fmt: skip
async def test_a_blocked_url_is_answered_without_a_connection(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(*args: object, **more: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", connect)
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    names = Names(rebound_example_com=["192.168.0.1"])
    async with Transport(1, Policy(), names) as transport:
        answer = await transport.post(url, {}, b"{}", 0)
    assert answer.blocked and answer.status is None
    assert (answer.error or "").startswith("url-blocked: ")


async def test_a_name_without_an_address_is_a_failure_and_not_blocked() -> None:
    async with Transport(1, Policy(), Names()) as transport:
        answer = await transport.post("https://nowhere.example.com/", {}, b"{}", 0)
    assert not answer.blocked
    assert answer.error == "name-not-found: nowhere.example.com has no address"
