"""Light load generators: wrk for single POSTs, and one plain socket for batches; no HTTP library's cost."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SCRIPT = Path(__file__).with_name("post.lua")


class WrkMissing(RuntimeError):
    """wrk is not installed: apt-get install wrk."""


@dataclass(frozen=True)
class Posted:
    """What wrk saw: answers by status; the clock (``time.perf_counter``) at first request and last answer."""

    statuses: dict[int, int]
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


def wrk_post(
    url: str,
    bodies: Iterable[str],
    count: int,
    connections: int,
    *,
    key: str = "",
    prefer: str = "",
    limit_s: int = 300,
) -> Posted:
    """POST the bodies in turn by one thread of wrk over so many connections until ``count`` are answered.

    Raises ``WrkMissing``, and ``RuntimeError`` when wrk fails.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise WrkMissing(WrkMissing.__doc__)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as lines:
        lines.write("\n".join(bodies) + "\n")
        lines.flush()
        env = {
            "BENCH_BODIES": lines.name,
            "BENCH_COUNT": str(count),
            "BENCH_KEY": key,
            "BENCH_PREFER": prefer,
        }
        command = [
            wrk,
            "-t1",
            f"-c{connections}",
            f"-d{limit_s}s",
            "--timeout",
            "60s",
            "-s",
            str(SCRIPT),
            url,
        ]
        told = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    if told.returncode or not told.stdout.strip().endswith("}"):
        raise RuntimeError(f"wrk failed: {told.stdout[-500:]}{told.stderr[-500:]}")
    said = json.loads(told.stdout.strip().splitlines()[-1])
    return Posted({int(status): n for status, n in said["statuses"].items()}, said["start"], said["end"])


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One kept connection that sends prepared requests and reads answers with a Content-Length or chunks."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._host, self._key, self._rest = parts.netloc, key, b""
        self._socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(120)

    def close(self) -> None:
        self._socket.close()

    def prepared(self, method: str, path: str, body: bytes = b"", headers: Iterable[str] = ()) -> bytes:
        """The bytes of a request, to be sent as often as one likes."""
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self._host}",
            f"Authorization: Bearer {self._key}",
            *headers,
        ]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def exchange(self, request: bytes) -> Answer:
        """Send one prepared request and read its answer. Raises ``ConnectionError``."""
        self._socket.sendall(request)
        head = self._until(b"\r\n\r\n").decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        fields = dict(line.split(":", 1) for line in head.split("\r\n")[1:] if ":" in line)
        if "chunked" in fields.get("transfer-encoding", ""):
            return Answer(status, b"".join(self._chunks()))
        return Answer(status, self._exactly(int(fields.get("content-length", 0))))

    def get(self, path: str) -> Any:
        """The JSON of a GET. Raises ``RuntimeError`` for another status than 200."""
        answer = self.exchange(self.prepared("GET", path))
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status} {answer.body[:300]!r}")
        return answer.json()

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._until(b"\r\n").split(b";")[0], 16):
            yield self._exactly(size)
            self._until(b"\r\n")
        self._until(b"\r\n")

    def _until(self, mark: bytes) -> bytes:
        while (at := self._rest.find(mark)) < 0:
            self._receive()
        found, self._rest = self._rest[:at], self._rest[at + len(mark) :]
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._receive()
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def _receive(self) -> None:
        data = self._socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._rest += data


@contextmanager
def wire(url: str, key: str) -> Iterator[Wire]:
    """A connection to the gateway for the length of a measurement."""
    connection = Wire(url, key)
    try:
        yield connection
    finally:
        connection.close()
