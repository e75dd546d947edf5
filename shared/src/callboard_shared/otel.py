"""Spans by OpenTelemetry's SDK, sent as OTLP over HTTP. Imported only by a process that traces."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from callboard_shared.tracing import Attributes, Kind, Span

_FLUSH_MS = 3_000
_TEXT = TraceContextTextMapPropagator()
_KINDS = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class OtelSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def tell(self, attributes: Attributes) -> None:
        self._span.set_attributes(dict(attributes))

    def fail(self, code: str) -> None:
        """``error.type`` alone: what an error says may hold something of an input."""
        self._span.set_attribute("error.type", code)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        self._span.end()


class OtelTracer:
    """One provider and its sending thread. OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_BSP_…
    and OTEL_EXPORTER_OTLP_HEADERS mean what the specification says."""

    def __init__(self, service: str, endpoint: str) -> None:
        resource = Resource.create({"service.name": f"callboard-{service}"})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("callboard", version("callboard-shared"))

    def begin(
        self, name: str, kind: Kind, parent: str | None, links: Sequence[str], attributes: Attributes
    ) -> Span:
        context = _TEXT.extract({"traceparent": parent}, Context()) if parent else Context()
        linked = [Link(_context_of(one)) for one in links]
        return OtelSpan(
            self._tracer.start_span(name, context, _KINDS[kind], attributes=dict(attributes), links=linked)
        )

    def close(self) -> None:
        self._provider.force_flush(_FLUSH_MS)
        self._provider.shutdown()


def _context_of(traceparent: str) -> trace.SpanContext:
    context = _TEXT.extract({"traceparent": traceparent}, Context())
    return trace.get_current_span(context).get_span_context()
