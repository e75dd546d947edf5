"""The stack's own Valkey: on loopback, behind a password, with what it accepted on disk."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from callboard_embedded.folder import Folder
from callboard_embedded.processes import start
from callboard_embedded.valkey import Valkey, configure

Start = Callable[[Valkey], subprocess.Popen[bytes]]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "a home with spaces")
    made.make()
    return made


@pytest.fixture
def started(folder: Folder) -> Iterator[Start]:
    servers: list[subprocess.Popen[bytes]] = []

    def make(valkey: Valkey) -> subprocess.Popen[bytes]:
        servers.append(start(valkey.argv, os.environ, folder.logs / "valkey.log"))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()
        server.wait()


def test_password_and_port_are_chosen_once_and_the_file_is_private(folder: Folder) -> None:
    first = configure(folder)
    assert configure(folder) == first
    assert len(first.password) >= 32
    assert stat.S_IMODE(folder.valkey_conf.stat().st_mode) == 0o600


def test_the_password_is_on_no_command_line(folder: Folder) -> None:
    valkey = configure(folder)
    assert not any(valkey.password in word for word in valkey.argv)


def test_a_port_that_was_taken_meanwhile_is_chosen_anew_and_the_password_stays(folder: Folder) -> None:
    first = configure(folder)
    with socket.socket() as other:
        other.bind(("127.0.0.1", first.port))
        other.listen()
        second = configure(folder)
    assert second.port != first.port
    assert second.password == first.password


async def test_it_keeps_what_it_accepted_and_never_evicts(folder: Folder, started: Start) -> None:
    valkey = configure(folder)
    server = started(valkey)
    assert await valkey.wait(10)
    with redis.Redis.from_url(valkey.url) as client:
        settings = client.config_get("appendonly", "maxmemory-policy", "bind")
        client.set("job", "accepted")
    assert settings == {"appendonly": "yes", "maxmemory-policy": "noeviction", "bind": "127.0.0.1"}
    server.send_signal(signal.SIGTERM)
    server.wait(10)
    started(valkey)
    assert await valkey.wait(10)
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        assert client.get("job") == "accepted"


async def test_nobody_gets_in_without_the_password(folder: Folder, started: Start) -> None:
    valkey = configure(folder)
    started(valkey)
    assert await valkey.wait(10)
    with (
        redis.Redis(port=valkey.port, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


async def test_waiting_for_a_server_that_is_not_there_ends_in_time(folder: Folder) -> None:
    assert not await configure(folder).wait(0.1)
