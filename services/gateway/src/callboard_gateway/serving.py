"""The server around the application: uvicorn, with what long-lived answers need."""

from __future__ import annotations

import logging
import resource
import socket

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from callboard_gateway.event_streams import ABORT


class Protocol(HttpToolsProtocol):
    """Lets a response drop its connection without first sending what its reader does not take."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"call": self.transport.abort}}


class Server(uvicorn.Server):
    """Tells long polls and streams to end before it waits for them."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.stopping.begin()
        await super().shutdown(sockets)


def allow_many_files() -> None:
    """Each open stream is an open file; systems begin with few (often 1,024) and permit more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class WithoutQuery(logging.Filter):
    """Of uvicorn's access log: what stands behind a path may be anything that a client thought of, and secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and len(record.args) > 2:
            client, method, path, *more = record.args
            record.args = (client, method, str(path).partition("?")[0], *more)
        return True
