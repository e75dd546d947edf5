"""An HTTP server on loopback whose answers a test writes byte by byte, and a network that only it is part of."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpcore

Answer = Callable[["Request"], None]
"""Writes an answer, head and all."""


class Request(BaseHTTPRequestHandler):
    """``gone`` is set when the other side has hung up, or the server ends."""

    server: FileServer

    def do_GET(self) -> None:
        self.server.asked.append((self.path, {name.lower(): text for name, text in self.headers.items()}))
        self.close_connection = True
        try:
            self.server.answers[self.path.partition("?")[0]](self)
        except OSError:
            self.server.hung_up.set()

    def do_POST(self) -> None:
        self.do_GET()

    def head(self, status: int = 200, **headers: object) -> None:
        said = {"Connection": "close", **headers}
        lines = [f"{name.replace('_', '-')}: {text}\r\n" for name, text in said.items()]
        self.wfile.write(f"HTTP/1.1 {status} Said\r\n{''.join(lines)}\r\n".encode())

    def pause(self, seconds: float) -> None:
        """Raises OSError when the server ends, so that nothing outlives its test."""
        if self.server.ending.wait(seconds):
            raise ConnectionAbortedError

    def log_message(self, *_: object) -> None:
        pass


class FileServer(ThreadingHTTPServer):
    """``asked``: path and headers of each request. ``hung_up``: set when a client has gone away."""

    daemon_threads = True

    def __init__(self, answers: Mapping[str, Answer], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.answers = dict(answers)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.hung_up, self.ending = threading.Event(), threading.Event()
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: object) -> None:
        """A client that hangs up in the handshake is no fault of the server's."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


def content(data: bytes, **headers: object) -> Answer:
    def answer(request: Request) -> None:
        request.head(200, Content_Length=len(data), **headers)
        request.wfile.write(data)

    return answer


def status(code: int, **headers: object) -> Answer:
    return lambda request: request.head(code, Content_Length=0, **headers)


def redirect(to: str, code: int = 302) -> Answer:
    return status(code, Location=to)


@contextmanager
def serving(answers: Mapping[str, Answer], tls: ssl.SSLContext | None = None) -> Iterator[FileServer]:
    server = FileServer(answers, tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.ending.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Network(httpcore.AsyncNetworkBackend):
    """Takes the system's place: records what is dialled and resolved, and sends nothing but to ``servers``, which say
    at which port of loopback an address is. ``names``: the addresses of a name, in turn if there are several answers."""

    def __init__(
        self, names: Mapping[str, Iterable[list[str]]] | None = None, servers: Mapping[str, int] | None = None
    ) -> None:
        self._names = {name: iter(answers) for name, answers in (names or {}).items()}
        self._servers = dict(servers or {})
        self._real = httpcore.AnyIOBackend()
        self.dialled: list[tuple[str, int]] = []
        self.resolved: list[str] = []

    async def resolve(self, name: str, port: int) -> list[str]:
        self.resolved.append(name)
        return next(self._names[name])

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append((host, port))
        if host not in self._servers:
            raise httpcore.ConnectError(f"{host} is not part of this test")
        return await self._real.connect_tcp("127.0.0.1", self._servers[host], timeout)
