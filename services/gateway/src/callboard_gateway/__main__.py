"""``python -m callboard_gateway``: serve until SIGTERM or SIGINT, then end streams and open requests soon."""

from __future__ import annotations

import logging
import sys

import uvicorn

from callboard_gateway.app import create_app
from callboard_gateway.serving import Protocol, Server, WithoutQuery, allow_many_files
from callboard_gateway.settings import ServerSettings
from callboard_shared import tracing
from callboard_shared.errors import LedgerNewer, LedgerUnavailable
from callboard_shared.ledger import Ledger, schema
from callboard_shared.telemetry import configure_logging


def main() -> None:
    configure_logging("gateway")
    logging.getLogger("uvicorn.access").addFilter(WithoutQuery())
    allow_many_files()
    _check_ledger()
    settings = ServerSettings()
    app = create_app()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=Protocol,
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
    tracing.start("gateway")
    try:
        Server(config, app).run()
    finally:
        tracing.stop()


def _check_ledger() -> None:
    """Ends the process if this code must not use the ledger. One that is away is waited for later, while requests are
    told so; so is one that another process migrates."""
    ledger = Ledger()
    try:
        schema.ensure(ledger, patience_s=0)
    except LedgerNewer as error:
        sys.exit(f"The gateway cannot start: {error.detail}")
    except LedgerUnavailable:
        pass  # see callboard_gateway.opening
    finally:
        ledger.close()


if __name__ == "__main__":
    main()
