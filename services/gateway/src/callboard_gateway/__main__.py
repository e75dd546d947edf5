"""``python -m callboard_gateway``: serve until SIGTERM or SIGINT, then end streams and open requests soon."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from callboard_gateway.app import create_app
from callboard_gateway.settings import ServerSettings
from callboard_shared.telemetry import configure_logging


class Server(uvicorn.Server):
    """Tells long polls and streams to end before it waits for them."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.stopping.begin()
        await super().shutdown(sockets)


def main() -> None:
    configure_logging("gateway")
    settings = ServerSettings()
    app = create_app()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=settings.access_log,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        backlog=settings.gateway_backlog,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.gateway_grace_s,
        h11_max_incomplete_event_size=32 * 1024,
    )
    Server(config, app).run()


if __name__ == "__main__":
    main()
