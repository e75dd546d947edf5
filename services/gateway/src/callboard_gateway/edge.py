"""The layer around all routes, as plain ASGI: request ids, security headers, and an answer for every bug.

Starlette's BaseHTTPMiddleware would do the same with a task and two queues a request, and would
buffer streams; this adds a few microseconds.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callboard_gateway.problems import error_response, internal_problem, problem_response
from callboard_gateway.tracing import traced
from callboard_shared import tracing
from callboard_shared.errors import CallboardError
from callboard_shared.telemetry import told

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)

LINGER_BYTES = 64 * 1024 * 1024
LINGER_S = 5

# Defaults for what a route did not say itself; pages bring their own policy.
_SECURITY: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_SECURITY_NAMES = frozenset(name for name, _ in _SECURITY)


class Edge:
    """Gives each request ``scope["callboard.request_id"]``, ``["callboard.trace_id"]`` and, when the caller
    sent a valid one, ``["callboard.traceparent"]``; headers put into ``scope["callboard.headers"]`` join the answer."""

    def __init__(self, app: ASGIApp, direct: Mapping[tuple[str, str], Route] | None = None) -> None:
        """``direct``: routes by (method, path) that are reached from here, past the framework's own layers."""
        self.app = app
        self.direct = direct or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        identify(scope)
        if tracing.active():
            await traced(self._serve, scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        extra: list[tuple[bytes, bytes]] = [(b"x-request-id", scope["callboard.request_id"].encode())]
        scope["callboard.headers"] = extra
        started = lingering = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started, lingering
            if message["type"] == "http.response.start":
                started = True
                lingering = message["status"] == 413
                message["headers"] = complete(message.get("headers", ()), extra)
            elif lingering and not message.get("more_body"):
                await send({**message, "more_body": True})
                await linger(receive)
                message = {"type": "http.response.body"}
            await send(message)

        route = self.direct.get((scope["method"], scope["path"]))
        try:
            if route is None:
                await self.app(scope, receive, send_with_headers)
            else:
                scope["route"] = route
                await route.app(scope, receive, send_with_headers)
        except CallboardError as error:
            await error_response(Request(scope), error)(scope, receive, send_with_headers)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception as error:  # the last resort: log it, answer without its cause
            log.error(
                "request failed", method=scope["method"], trace_id=scope["callboard.trace_id"], **told(error)
            )
            if started:
                raise
            response = problem_response(Request(scope), internal_problem())
            await response(scope, receive, send_with_headers)


async def linger(receive: Receive) -> None:
    """Let a client that still sends its too large body come to read the answer: to close at once would reset
    the connection under it. Within bounds; nothing of the body is kept."""
    left = LINGER_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return
                left -= len(message.get("body", b""))


def identify(scope: Scope) -> None:
    """The caller's request id and trace where they are well formed, else new ones."""
    request_id = trace_id = ""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            request_id = value.decode()
        elif name == b"traceparent" and (match := _TRACEPARENT.fullmatch(value)):
            trace_id = match[1].decode()
            scope["callboard.traceparent"] = value.decode("latin-1")
    trace_id = trace_id or os.urandom(16).hex()
    scope["callboard.trace_id"] = trace_id
    scope["callboard.request_id"] = request_id or trace_id


def complete(headers: Any, extra: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The route's headers, then ours; of the security headers only those that the route left open."""
    result = list(headers)
    present = {name for name, _ in result} & _SECURITY_NAMES
    result += extra
    result += _SECURITY if not present else [pair for pair in _SECURITY if pair[0] not in present]
    return result
