"""A receiver of OTLP over HTTP on loopback: decodes what exporters send, as a collector does."""

from __future__ import annotations

import gzip
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True)
class Seen:
    """One span; ids in hexadecimal. ``links``: (trace id, span id)."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: list[tuple[str, str]]
    attributes: dict[str, str | int]
    failed: bool


class OtlpReceiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Seen] = []
        self.raw = b""
        self.came = threading.Condition()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> OtlpReceiver:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self.came:
            self.raw += body
            for resource in request.resource_spans:
                named = {one.key: one.value.string_value for one in resource.resource.attributes}
                for scope in resource.scope_spans:
                    self.spans += [_seen(named["service.name"], span) for span in scope.spans]
            self.came.notify_all()

    def await_spans(self, name: str, count: int = 1, *, trace: str = "", within_s: float = 30) -> list[Seen]:
        """The spans of a name (and a trace), once there are so many."""
        deadline = time.monotonic() + within_s
        with self.came:
            while (
                len(found := [one for one in self.spans if one.name == name and trace in one.trace]) < count
            ):
                if not self.came.wait(deadline - time.monotonic()):
                    raise AssertionError(f"no {count} spans {name!r} in {[span.name for span in self.spans]}")
        return found


def _seen(service: str, span: Span) -> Seen:
    attributes: dict[str, str | int] = {}
    for one in span.attributes:
        kind = one.value.WhichOneof("value")
        attributes[one.key] = getattr(one.value, kind or "string_value")
    return Seen(
        service, span.name, Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(), span.trace_id.hex(),
        span.span_id.hex(), span.parent_span_id.hex(),
        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links], attributes, span.status.code == 2,
    )  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    server: OtlpReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            self.server.take(body)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200 if self.path == "/v1/traces" else 404)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        return None
