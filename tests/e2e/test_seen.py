"""What one sees of a running system: traces in one piece from client to webhook, log lines that say which job, metrics."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from otlp_receiver import OtlpReceiver
from over_http import ended, submit

from callboard_embedded.stack import Stack
from callboard_gateway.metric_table import METRICS

pytestmark = [pytest.mark.slow, pytest.mark.models]
SAID = "a sentence that nobody else shall read"


@dataclass
class Seen:
    stack: Stack
    http: httpx.Client
    otlp: OtlpReceiver

    def logs(self) -> list[dict[str, Any]]:
        """Every line of every process."""
        lines = [
            line
            for path in sorted((self.stack.home / "logs").glob("*.log"))
            if not path.name.startswith("valkey")
            for line in path.read_text().splitlines()
        ]
        return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    home = tmp_path_factory.mktemp("seen")
    with OtlpReceiver() as otlp:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url, "OTEL_BSP_SCHEDULE_DELAY": "200",
            "CALLBOARD_LOG_FORMAT": "json", "CALLBOARD_LOG_LEVEL": "DEBUG", "CALLBOARD_OFFLINE": "true",
            "CALLBOARD_WORKERS": "llm=0,vision=0,nlp-train=0,vision-train=0", "HF_HUB_OFFLINE": "1",
        }  # fmt: skip
        with Stack(home, env=env, output=home / "said") as stack:
            headers = {"Authorization": f"Bearer {stack.key}"}
            with httpx.Client(base_url=stack.url, headers=headers, timeout=60) as http:
                yield Seen(stack, http, otlp)


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A webhook's receiver: its URL, and the headers that came."""
    came: list[dict[str, str]] = []

    class Posted(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            came.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Posted) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook/s3cret", came
        server.shutdown()


def test_one_trace_leads_from_the_client_to_the_webhook(
    seen: Seen, receiver: tuple[str, list[dict[str, str]]]
) -> None:
    url, came = receiver
    trace, client = secrets.token_hex(16), secrets.token_hex(8)
    body = {
        "type": "nlp.embed", "input": {"texts": [SAID]}, "webhook": {"url": url, "events": ["job.succeeded"]},
    }  # fmt: skip
    answer = seen.http.post("/v1/jobs", json=body, headers={"traceparent": f"00-{trace}-{client}-01"})
    job = ended(seen.http, answer.json()["id"])
    assert job["status"] == "succeeded"

    names = ("send nlp", "process nlp", "POST", "POST /v1/jobs")
    send, process, post, server = (seen.otlp.await_spans(name, trace=trace)[0] for name in names)
    assert [span.kind for span in (server, send, process, post)] == [
        "server",
        "producer",
        "consumer",
        "client",
    ]
    assert (server.parent, send.parent, process.parent) == (client, server.id, send.id)
    assert process.links == [(trace, send.id)] and post.parent == send.id
    assert came[0]["traceparent"] == f"00-{trace}-{post.id}-01"
    assert [span.service for span in (server, process, post)] == [
        "callboard-gateway", "callboard-nlp", "callboard-courier"
    ]  # fmt: skip
    assert process.attributes["messaging.message.id"] == job["id"] == send.attributes["messaging.message.id"]
    assert process.attributes["messaging.operation.type"] == "process"
    assert post.attributes["http.response.status_code"] == 204 and not post.failed


def test_a_batch_is_one_span_linked_to_where_each_job_was_sent(seen: Seen) -> None:
    traces = [secrets.token_hex(16) for _ in range(40)]
    ids = []
    for trace in traces:
        headers = {"traceparent": f"00-{trace}-{'1' * 16}-01"}
        body = {"type": "nlp.embed", "input": {"texts": [trace] * 20}}
        ids.append(seen.http.post("/v1/jobs", json=body, headers=headers).json()["id"])
    for one in ids:
        ended(seen.http, one)
    batches = [span for span in seen.otlp.await_spans("process nlp") if len(span.links) > 1]
    assert batches, "40 jobs at once ran one by one"
    sent = {(span.trace, span.id) for span in seen.otlp.await_spans("send nlp", 40)}
    for batch in batches:
        assert batch.attributes["messaging.batch.message_count"] == len(batch.links)
        assert batch.parent == "" and set(batch.links) <= sent


def test_a_request_that_is_refused_leaves_no_span_of_sending(seen: Seen) -> None:
    trace = secrets.token_hex(16)
    body = {"type": "nlp.embed", "input": {"texts": [SAID], "model": "sentiment"}}
    headers = {"traceparent": f"00-{trace}-{'2' * 16}-01"}
    answer = seen.http.post(
        "/v1/jobs", json={"type": "system.echo", "input": {"value": SAID}}, headers=headers
    )
    ended(seen.http, answer.json()["id"])
    (span,) = seen.otlp.await_spans("process system", trace=trace)
    assert span.attributes["callboard.job.type"] == "system.echo" and not span.failed
    refused = seen.http.post("/v1/jobs", json=body, headers=headers)
    assert refused.status_code == 422
    seen.otlp.await_spans("send system", trace=trace)
    kept = [one for one in seen.otlp.spans if one.trace == trace and one.kind == "producer"]
    assert [one.name for one in kept] == ["send system"], "a refused request sends nothing"


def test_each_log_line_about_a_job_says_which_attempt_key_and_trace(seen: Seen) -> None:
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{'3' * 16}-01"}
    answer = seen.http.post("/v1/jobs", json={"type": "system.echo", "input": {}}, headers=headers)
    single = ended(seen.http, answer.json()["id"])
    lines = [line for line in seen.logs() if line.get("job") == single["id"]]
    assert lines, "nothing was logged of a job at DEBUG"
    key = seen.http.get("/v1/keys").json()["data"][0]["id"]
    for line in lines:
        assert (line["attempt"], line["trace"], line["key"]) == (1, trace, key), line
        assert line["service"] and line["level"] and line["timestamp"]


def test_every_line_of_every_process_is_json(seen: Seen) -> None:
    """Celery's and uvicorn's own among them."""
    loggers, plain = set(), []
    for path in (seen.stack.home / "logs").glob("*.log"):
        if path.name.startswith("valkey"):
            continue
        for line in filter(str.strip, path.read_text().splitlines()):
            if line.startswith("{"):
                loggers.add(json.loads(line)["logger"].partition(".")[0])
            else:
                plain.append(line)
    assert {"celery", "uvicorn", "callboard_shared"} <= loggers
    assert not [line for line in plain if re.match(r"(\[?\d{4}-|INFO|WARNING|ERROR)", line)], plain[:5]


def test_neither_spans_nor_logs_hold_inputs_outputs_or_secrets(seen: Seen) -> None:
    submit(seen.http, "system.echo", {"value": SAID})
    told = seen.otlp.raw + json.dumps(seen.logs()).encode()
    for secret in (SAID, seen.stack.key, "s3cret"):
        assert secret.encode() not in told


def test_each_metric_that_is_documented_is_shown_after_a_run_and_no_other(seen: Seen) -> None:
    ended(seen.http, submit(seen.http, "nlp.embed", {"texts": ["counted"]}))
    text = seen.http.get("/metrics").text
    shown = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    declared = {one.exposed for one in METRICS}
    assert {name for name in shown if not name.startswith("process_")} == declared
    with_series = set(re.findall(r"^(\w+?)(?:_bucket|_sum|_count)?(?:\{| )", text, re.M))
    by_chance = {
        "callboard_provider_request_seconds",
        "callboard_gpu_memory_used_bytes",
        "callboard_gpu_memory_bytes",
    }
    assert declared - with_series <= by_chance, "a provider was not asked, and there may be no GPU"


def test_without_an_endpoint_we_import_nothing_of_opentelemetry() -> None:
    """The Redis client looks for its API by itself, where that is installed."""
    program = (
        "import sys\nimport callboard_gateway.app, callboard_courier.main, callboard_shared.tracing as tracing\n"
        "assert tracing.start('trial') is False and not tracing.active()\n"
        "heavy = ('callboard_shared.otel', 'opentelemetry.exporter', 'opentelemetry.sdk.trace')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=env,
        cwd=Path(__file__).parent,
    )
    assert done.stdout.strip() == "[]"
