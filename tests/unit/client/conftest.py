"""A gateway of a few lines on a loopback port, which answers as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from callboard_client import AsyncCallboard, Callboard, Retries

KEY = "cb_test_key"


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """``cut``: close the connection after so many bytes of the body."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Step = Answer | Callable[[Seen], Answer] | None
"""``None`` hangs up without an answer."""


class Gateway:
    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.url = ""
        self._steps: dict[tuple[str, str], list[Step]] = defaultdict(list)

    def on(self, method: str, path: str, *steps: Step) -> None:
        """Answers to such requests, in order; the last one stays."""
        self._steps[method, path] = list(steps)

    def answer(self, seen: Seen) -> Step:
        self.seen.append(seen)
        steps = self._steps[seen.method, seen.path]
        if not steps:
            return Answer(404, problem(404, "not-found", f"no {seen.method} {seen.path} in this test"))
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        return step(seen) if callable(step) else step


def problem(status: int, code: str, detail: str = "so it is", **more: Any) -> dict[str, Any]:
    return {"type": f"urn:callboard:problem:{code}", "status": status, "code": code, "detail": detail, **more}


def job(status: str = "queued", **more: Any) -> dict[str, Any]:
    return {
        "id": "job_1",
        "type": "system.echo",
        "queue": "system",
        "status": status,
        "from_the_future": 1,
        **more,
    }


def _handler(gateway: Gateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            step = gateway.answer(Seen(self.command, parts.path, query, headers, self._body()))
            assert not callable(step)
            if step is None:
                self.close_connection = True
                self.connection.close()
                return
            self._send(step)

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("content-length", 0)))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _send(self, answer: Answer) -> None:
            content = b"" if answer.status == 204 else answer.content()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: answer.cut])
            if answer.cut is not None:
                self.wfile.flush()
                self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PATCH = do_DELETE = _any  # noqa: N815 (the names that http.server calls)

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet."""

    return Handler


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """An empty folder and none of our variables."""
    monkeypatch.chdir(tmp_path)
    for name in ("CALLBOARD_URL", "CALLBOARD_API_KEY", "CALLBOARD_HOME", "CALLBOARD_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def callboard(gateway: Gateway, no_environment: None) -> Iterator[Callboard]:
    with Callboard(gateway.url, KEY, retries=Retries(times=3, first_s=0.001)) as made:
        yield made


@pytest.fixture
async def async_callboard(gateway: Gateway, no_environment: None) -> Any:
    async with AsyncCallboard(gateway.url, KEY, retries=Retries(times=3, first_s=0.001)) as made:
        yield made


@pytest.fixture
def make() -> Any:
    """The builders of this file, for tests (which cannot import it)."""

    class Make:
        answer = Answer
        job = staticmethod(job)
        problem = staticmethod(problem)
        key = KEY

    return Make
