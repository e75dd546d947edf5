"""What both clients tell httpx."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from callboard_client._errors import Unauthorized
from callboard_client._settings import NO_KEY, Connection
from callboard_client._wire import Request

CONNECT_S = 5.0
QUIET_STREAM_S = 45.0  # the gateway sends a comment every 15 s


def client_options(connection: Connection, version: str) -> dict[str, Any]:
    """Options of ``httpx.Client``. A gateway on this machine is asked directly, whatever proxy is set; the
    certificates of the world (40 ms to load) are loaded only for https."""
    headers = {"user-agent": f"callboard-client/{version}", "accept": "application/json"}
    if connection.key:
        headers["authorization"] = f"Bearer {connection.key}"
    return {
        "base_url": connection.url,
        "headers": headers,
        "trust_env": not connection.is_loopback,
        "verify": connection.is_tls,
    }


def request_options(request: Request, timeout_s: float) -> dict[str, Any]:
    """Arguments of ``httpx.Client.build_request``."""
    options: dict[str, Any] = {
        "method": request.method,
        "url": request.path,
        "headers": dict(request.headers),
        "timeout": _timeout(timeout_s, timeout_s + request.patience_s),
    }
    if request.params:
        options["params"] = request.params
    if request.content is not None:
        options["content"] = request.content
    if request.upload is not None:
        upload = request.upload
        upload.file.seek(0)
        media_type = (upload.media_type,) if upload.media_type else ()  # httpx goes by the name's ending
        options |= {"files": {"file": (upload.name, upload.file, *media_type)}, "data": dict(upload.fields)}
    return options


def stream_options(request: Request, timeout_s: float) -> dict[str, Any]:
    """The same for an event stream: silence longer than its comments allow means the connection is dead."""
    options = request_options(request, timeout_s)
    options["timeout"] = _timeout(timeout_s, QUIET_STREAM_S)
    return options


def _timeout(timeout_s: float, read_s: float) -> httpx.Timeout:
    return httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S), read=read_s)


@contextmanager
def missing_key_explained(connection: Connection) -> Iterator[None]:
    """Adds to a 401 what can be done, where it came from having no key at all."""
    try:
        yield
    except Unauthorized as error:
        if connection.key:
            raise
        detail = f"{error.detail} {NO_KEY}"
        raise Unauthorized(error.problem.model_copy(update={"detail": detail})) from None
