"""The gateway's spans: one of each request, and within it one of sending jobs, whose context the jobs carry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.types import Message, Receive, Scope, Send

from callboard_shared import tracing
from callboard_shared.ledger import NewJob
from callboard_shared.tracing import Span

_SPAN, _SENDING = "callboard.span", "callboard.sending"
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked by machines every few seconds: their spans would bury the others. One with a traceparent is traced."""


async def traced(
    serve: Callable[[Scope, Receive, Send], Awaitable[None]], scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve a request within a span (https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server)."""
    method, parent = scope["method"], scope.get("callboard.traceparent")
    probed = parent is None and scope["path"] in _PROBES
    attributes = {"http.request.method": method}
    span = None if probed else tracing.begin(method, "server", parent=parent, attributes=attributes)
    if span is None:
        await serve(scope, receive, send)
        return
    scope[_SPAN], scope["callboard.traceparent"] = span, span.traceparent
    scope["callboard.trace_id"] = tracing.trace_id(span.traceparent)
    status = 500

    async def noting(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        await send(message)

    try:
        await serve(scope, receive, noting)
    finally:
        _end(span, scope, method, status)


def _end(span: Span, scope: Scope, method: str, status: int) -> None:
    route = getattr(scope.get("route"), "path", None)
    if route is not None:
        span.name(f"{method} {route}")
        span.tell({"http.route": route})
    span.tell({"http.response.status_code": status})
    if status >= 500:
        span.fail(str(status))
    span.end()


def sending(scope: Scope) -> str | None:
    """The context that jobs of this request carry: a new span's, or the caller's where nothing is traced."""
    parent: Span | None = scope.get(_SPAN)
    if parent is None:
        traceparent: str | None = scope.get("callboard.traceparent")
        return traceparent
    if _SENDING not in scope:
        scope[_SENDING] = tracing.begin("send", "producer", parent=parent.traceparent)
    span: Span | None = scope[_SENDING]
    return span.traceparent if span else parent.traceparent


def sent(scope: Scope, jobs: Sequence[NewJob] = ()) -> None:
    """The jobs were accepted. A request that is refused leaves no span of sending."""
    span: Span | None = scope.get(_SENDING)
    if span is None:
        return
    attributes: dict[str, str | int] = {
        "messaging.system": "callboard",
        "messaging.operation.type": "send",
        "messaging.operation.name": "send",
    }
    queues = {job.queue for job in jobs}
    if len(queues) == 1:
        span.name(f"send {jobs[0].queue}")
        attributes["messaging.destination.name"] = jobs[0].queue
    if len(jobs) == 1:
        attributes["messaging.message.id"] = jobs[0].id
    elif jobs:
        attributes["messaging.batch.message_count"] = len(jobs)
    span.tell(attributes)
    span.end()
