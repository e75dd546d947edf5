"""A real RabbitMQ of a test's own: Debian's ``rabbitmq-server`` on free ports of 127.0.0.1, ended by its process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
EPMD = Path("/usr/bin/epmd")
MISSING = "needs RabbitMQ: apt-get install rabbitmq-server"


def installed() -> bool:
    return SERVER.exists() and EPMD.exists()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class RabbitMQ:
    """One node. ``stop`` is a crash (SIGKILL); ``start`` brings it back on the same port with what it had on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, _free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self._epmd_port, self._dist_port = _free_port(), _free_port()
        self._node: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"trial{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"), "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
        }  # fmt: skip

    def start(self, within_s: float = 90) -> None:
        """Start, and wait until it speaks AMQP."""
        environment = self._environment()
        (self.folder / "plugins").write_text("[].\n")
        with (self.folder / "output.log").open("ab") as output:
            if self._epmd is None:
                self._epmd = subprocess.Popen(
                    [EPMD, "-port", str(self._epmd_port)], env=environment, stdout=output, stderr=output
                )
            self._node = subprocess.Popen(
                [SERVER], cwd=self.folder, env=environment, start_new_session=True, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output,
            )  # fmt: skip
        deadline = time.monotonic() + within_s
        while not self._speaks():
            said = (self.folder / "output.log").read_text("utf-8", "replace")[-2000:]
            assert self._node.poll() is None, f"RabbitMQ ended: {said}"
            assert time.monotonic() < deadline, f"RabbitMQ did not start: {said}"
            time.sleep(0.1)

    def _speaks(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    def stop(self) -> None:
        if self._node is not None and self._node.poll() is None:
            os.killpg(self._node.pid, signal.SIGKILL)
            self._node.wait(10)
        self._node = None

    def close(self) -> None:
        self.stop()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait(10)


@contextmanager
def rabbitmq_at(folder: Path) -> Iterator[RabbitMQ]:
    server = RabbitMQ(folder)
    try:
        server.start()
        yield server
    finally:
        server.close()
