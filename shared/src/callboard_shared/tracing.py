"""Traces, as OpenTelemetry wants them; off unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` says where they go.

Nothing of OpenTelemetry is imported until then: ``callboard_shared.otel`` is the only module that does. Contexts travel
as W3C ``traceparent`` texts (https://www.w3.org/TR/trace-context/), which a job carries whether traces are on or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol

import structlog
from pydantic import Field

from callboard_shared.settings import Settings

log = structlog.get_logger(__name__)

Kind = Literal["server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int]

_IN_SPEC = re.compile(rb'"traceparent":"([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})')


class TracingSettings(Settings):
    """Where traces go. OpenTelemetry's own names; its exporter reads the others of them from the environment."""

    otlp_endpoint: str | None = Field(
        default=None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        pattern=r"^https?://\S+$",
        description="An OTLP/HTTP receiver; traces go to its /v1/traces. Needs `callboard-shared[otel]`.",
    )


class Span(Protocol):
    """A span under way. ``traceparent``: what is sent to whoever goes on with it."""

    @property
    def traceparent(self) -> str: ...
    def name(self, name: str) -> None: ...
    def tell(self, attributes: Attributes) -> None: ...
    def fail(self, code: str) -> None: ...
    def end(self) -> None: ...


class Tracer(Protocol):
    def begin(
        self, name: str, kind: Kind, parent: str | None, links: Sequence[str], attributes: Attributes
    ) -> Span: ...
    def close(self) -> None: ...


class _Process:
    """What this process traces with; a fork starts without."""

    tracer: Tracer | None = None


def start(service: str, settings: TracingSettings | None = None) -> bool:
    """Trace from now on in this process, if there is where to. Call it after the fork: the exporter has a thread."""
    endpoint = (settings or TracingSettings()).otlp_endpoint
    if endpoint is None:
        return False
    try:
        from callboard_shared.otel import OtelTracer
    except ImportError as error:
        log.warning("tracing.off", reason=f"{error.name} is missing: pip install 'callboard-shared[otel]'")
        return False
    _Process.tracer = OtelTracer(service, endpoint)
    return True


def stop() -> None:
    """Send what has ended, and trace no more. Blocks for some seconds at most."""
    tracer, _Process.tracer = _Process.tracer, None
    if tracer is not None:
        tracer.close()


def active() -> bool:
    return _Process.tracer is not None


def begin(
    name: str,
    kind: Kind,
    *,
    parent: str | None = None,
    links: Sequence[str] = (),
    attributes: Attributes | None = None,
) -> Span | None:
    """A span that its caller must end; None where nothing is traced. ``parent`` and ``links``: traceparents."""
    tracer = _Process.tracer
    return None if tracer is None else tracer.begin(name, kind, parent, links, attributes or {})


@contextmanager
def span(
    name: str,
    kind: Kind,
    *,
    parent: str | None = None,
    links: Sequence[str] = (),
    attributes: Attributes | None = None,
) -> Iterator[Span | None]:
    """The block as a span; what it raises fails it."""
    begun = begin(name, kind, parent=parent, links=links, attributes=attributes)
    if begun is None:
        yield None
        return
    try:
        yield begun
    except BaseException as error:
        begun.fail(type(error).__name__)
        raise
    finally:
        begun.end()


def traceparent_in(spec: bytes) -> str | None:
    """What a job's spec carries. Looked for as text: its owner chose it, so a look-alike in the input fools nobody."""
    found = _IN_SPEC.findall(spec)
    return found[-1].decode() if found else None


def trace_id(traceparent: str | None) -> str | None:
    return traceparent[3:35] if traceparent else None
