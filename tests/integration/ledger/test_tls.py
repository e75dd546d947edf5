"""A Redis behind TLS: ledger and broker speak to the one whose certificate they can check, and to no other."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kombu.exceptions import OperationalError
from pydantic import SecretStr

from callboard_shared.bell import celery_app
from callboard_shared.errors import LedgerError
from callboard_shared.ledger import Ledger, verbs
from callboard_shared.settings import BrokerSettings, LedgerSettings


def certified(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    folder.mkdir(exist_ok=True)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=callboard", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture(scope="module")
def behind_tls(valkey_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """Where a server of loopback ends TLS before the test's Valkey, and the certificate that it shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate, key = certified(tmp_path_factory.mktemp("tls"))
    context.load_cert_chain(certificate, key)
    behind = urlsplit(valkey_server).port
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_connection("127.0.0.1", behind)
        await asyncio.gather(_pass_on(reader, inner[1]), _pass_on(inner[0], writer))

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield server.sockets[0].getsockname()[1], certificate
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def ledger_answers(url: str) -> bool:
    ledger = Ledger(LedgerSettings(redis_url=SecretStr(url)))
    try:
        return ledger.run(verbs.ping())
    except LedgerError:
        return False
    finally:
        ledger.close()


def broker_answers(url: str) -> bool:
    app = celery_app("tls", BrokerSettings(broker_url=SecretStr(url)), current=False)
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
            return bool(connection.default_channel.client.ping())
    except OperationalError:
        return False


@pytest.mark.parametrize("answers", [ledger_answers, broker_answers])
def test_a_certificate_is_checked(
    answers: Callable[[str], bool], behind_tls: tuple[int, Path], tmp_path: Path
) -> None:
    port, right = behind_tls
    wrong, _ = certified(tmp_path / "another")
    url = f"rediss://127.0.0.1:{port}/0"
    assert answers(f"{url}?ssl_ca_certs={right}")
    assert not answers(f"{url}?ssl_ca_certs={wrong}")
    assert not answers(url), "nobody known has signed it"
