"""The client asks for the name at the address that was judged, and nothing of the environment plays a part."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from file_server import FileServer, Network, content, redirect, serving, status

from callboard_shared.outbound import Policy, UrlBlocked, open_client

ALLOWING = Policy(allow_private=True)
PUBLIC = "93.184.216.34"
NAME = "files.example.com"


@pytest.fixture
def server() -> Iterator[FileServer]:
    answers = {
        "/": content(b"hello"),
        "/packed": content(gzip.compress(b"0" * 10_000_000), Content_Encoding="gzip"),
        "/away": redirect("/"),
        "/cookie": status(200, Set_Cookie="session=1; Path=/"),
    }
    with serving(answers) as running:
        yield running


async def test_tls_asks_for_the_name_while_the_connection_goes_to_the_address(tls: Any) -> None:
    with serving({"/": content(b"hello")}, tls.server) as server:
        network = Network({NAME: [[PUBLIC]]}, {PUBLIC: server.server_port})
        async with open_client(
            Policy(), tls=tls.trusting, resolve=network.resolve, network=network
        ) as client:
            answer = await client.get(f"https://{NAME}/")
    assert answer.content == b"hello"
    assert network.dialled == [(PUBLIC, 443)]
    assert server.asked[0][1]["host"] == NAME


async def test_a_certificate_for_another_name_is_not_accepted(tls: Any) -> None:
    with serving({"/": content(b"hello")}, tls.server) as server:
        network = Network({"other.example.com": [[PUBLIC]]}, {PUBLIC: server.server_port})
        async with open_client(
            Policy(), tls=tls.trusting, resolve=network.resolve, network=network
        ) as client:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.get("https://other.example.com/")
    assert server.asked == []


async def test_a_certificate_of_nobody_trusted_is_not_accepted(tls: Any) -> None:
    with serving({"/": content(b"hello")}, tls.server) as server:
        network = Network({NAME: [[PUBLIC]]}, {PUBLIC: server.server_port})
        async with open_client(Policy(), resolve=network.resolve, network=network) as client:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.get(f"https://{NAME}/")
    assert server.asked == []


async def test_proxies_and_passwords_of_the_environment_are_not_used(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:1")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password SECRET\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with open_client(ALLOWING) as client:
        assert (await client.get(server.url)).content == b"hello"
    assert "authorization" not in server.asked[0][1]


async def test_a_redirect_is_an_answer(server: FileServer) -> None:
    async with open_client(ALLOWING) as client:
        assert (await client.post(f"{server.url}/away")).status_code == 302
    assert [path for path, _ in server.asked] == ["/away"]


async def test_a_redirect_that_a_caller_follows_is_judged_again() -> None:
    network = Network()
    with serving({"/": redirect("http://169.254.169.254/latest/meta-data/")}) as server:
        network = Network(servers={"127.0.0.1": server.server_port})
        async with open_client(ALLOWING, resolve=network.resolve, network=network) as client:
            with pytest.raises(UrlBlocked):
                await client.get(server.url, follow_redirects=True)
    assert network.dialled == [("127.0.0.1", server.server_port)]


async def test_cookies_are_forgotten(server: FileServer) -> None:
    async with open_client(ALLOWING) as client:
        await client.get(f"{server.url}/cookie")
        await client.get(server.url)
    assert "cookie" not in server.asked[1][1]


async def test_an_answer_is_never_unpacked(server: FileServer) -> None:
    async with open_client(ALLOWING) as client:
        answer = await client.get(f"{server.url}/packed")
    assert server.asked[0][1]["accept-encoding"] == "identity"
    assert len(answer.content) < 20_000


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "https://10.0.0.1/", "http://example.com/", "https://example.com:22/"]
)
async def test_what_is_not_allowed_is_not_even_dialled(url: str) -> None:
    network = Network({"example.com": [[PUBLIC]]})
    async with open_client(Policy(), resolve=network.resolve, network=network) as client:
        with pytest.raises(UrlBlocked):
            await client.get(url)
    assert network.dialled == [] and network.resolved == []


async def test_a_name_that_is_public_at_first_and_private_later_is_refused_later() -> None:
    network = Network({"example.com": [[PUBLIC], ["127.0.0.1"]]})
    async with open_client(ALLOWING, resolve=network.resolve, network=network) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("https://example.com/")
        with pytest.raises(UrlBlocked):
            await client.get("https://example.com/")
    assert network.dialled == [(PUBLIC, 443)]


async def test_no_log_line_holds_the_rest_of_a_url(
    server: FileServer, caplog: pytest.LogCaptureFixture
) -> None:
    from callboard_shared.telemetry import configure_logging

    root = logging.getLogger()
    kept = root.handlers[:], root.level
    try:
        configure_logging("test")
        root.addHandler(caplog.handler)
        root.setLevel(logging.DEBUG)
        async with open_client(ALLOWING) as client:
            await client.get(f"{server.url}/?token=SECRET")
    finally:
        root.handlers[:], root.level = kept
    assert "SECRET" not in caplog.text
