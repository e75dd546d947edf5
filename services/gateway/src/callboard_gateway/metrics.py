"""Prometheus metrics: what the gateway answers, and what the queues hold at the moment of the scrape.

Counting an answer costs a dictionary look-up and two increments; the ledger is asked only by a scrape.
"""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from importlib.metadata import version
from time import perf_counter
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.process_collector import ProcessCollector
from pydantic import Field

from callboard_gateway import event_streams
from callboard_gateway.auth import require
from callboard_gateway.ledger_metrics import SCRAPE_TIMEOUT_S, QueueCollector, WebhookCollector
from callboard_gateway.metric_table import BY_NAME
from callboard_shared.settings import Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class MetricsSettings(Settings):
    """Where metrics are offered: ``/metrics`` with an admin key, or a port of their own without one."""

    metrics_port: int | None = Field(default=None, ge=1, le=65535, description="A port for /metrics alone.")
    metrics_host: str = Field(default="127.0.0.1", description="Address that this port listens on.")


class Metrics:
    """The registry of one gateway process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(**_about("callboard_http_requests"), registry=self.registry)
        self._seconds = Histogram(
            **_about("callboard_http_request_duration_seconds"), buckets=BUCKETS_S, registry=self.registry
        )
        build = Gauge(**_about("callboard_build_info"), registry=self.registry)
        build.labels(version("callboard-gateway"), platform.python_version()).set(1)
        streams = Gauge(**_about("callboard_streams_open"), registry=self.registry)
        streams.set_function(lambda: event_streams.OPEN.count)
        if sys.platform == "linux":
            ProcessCollector(registry=self.registry)
        self._children: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        found = self._children.get((method, route, status))
        if found is None:
            found = self._requests.labels(method, route, str(status)), self._seconds.labels(method, route)
            self._children[method, route, status] = found
        found[0].inc()
        found[1].observe(seconds)


def _about(name: str) -> dict[str, Any]:
    one = BY_NAME[name]
    return {"name": one.name, "documentation": one.help, "labelnames": one.labels}


class MetricsMiddleware:
    """Counts each HTTP answer under its route's template, never under its path."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500
        began = perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.count(method, _route(scope), status, perf_counter() - began)


def _route(scope: Scope) -> str:
    path = getattr(scope.get("route"), "path", None)
    if path is not None:
        return str(path)
    return "/static" if scope["path"].startswith("/static/") else "unmatched"


disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nobody reads

router = APIRouter(tags=["operating"])


@router.get(
    "/metrics",
    dependencies=[Depends(require("admin"))],
    response_class=Response,
    responses={200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}}},
    summary="Metrics for Prometheus",
    operation_id="metrics",
)
async def scrape(request: Request) -> Response:
    """With `CALLBOARD_METRICS_PORT` they are also there, without a key, on a port of their own."""
    text = await asyncio.to_thread(generate_latest, request.app.state.metrics.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def install(app: FastAPI) -> None:
    """Count every request and offer ``/metrics``. Once the ledger is there, enter ``serving(app)``."""
    app.state.metrics = Metrics()
    app.add_middleware(MetricsMiddleware, metrics=app.state.metrics)
    app.include_router(router)


@contextmanager
def serving(app: FastAPI, settings: MetricsSettings | None = None) -> Iterator[None]:
    """For the lifespan: read queues at scrapes, and serve the port of its own if there is one."""
    settings = settings or MetricsSettings()
    registry: CollectorRegistry = app.state.metrics.registry
    loop = asyncio.get_running_loop()
    collectors = QueueCollector(app.state.ledger, loop), WebhookCollector(app.state.ledger, loop)
    for collector in collectors:
        registry.register(collector)
    server = thread = None
    try:
        if settings.metrics_port:
            server, thread = start_http_server(settings.metrics_port, settings.metrics_host, registry)
        yield
    finally:
        for collector in collectors:
            registry.unregister(collector)
        if server is not None and thread is not None:
            server.shutdown()
            server.server_close()
            thread.join(timeout=SCRAPE_TIMEOUT_S)
