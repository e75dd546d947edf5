"""Row group b: on an idle system, the time from submit to result in one request (``Prefer: wait``)."""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Iterator
from typing import Any

from bench.report import Row, at_most
from bench.scale import Scale
from bench.stack import NLP_ONLY, Measured, stack
from bench.texts import short_texts

GROUP = "b. idle system: submit → result, Prefer: wait=10"
P50_MS, P99_MS = 10.0, 30.0


def rows(scale: Scale) -> Iterator[Row]:
    """Sequential requests on one connection with 20–50 ms between them."""
    with stack(NLP_ONLY) as running:
        yield from _judged(
            "system.echo", _latencies(running, "system.echo", [{"value": 1}], scale.idle_requests)
        )
        inputs = [{"texts": [text]} for text in short_texts(64)]
        embeds = _latencies(running, "nlp.embed", inputs, scale.idle_requests)
        yield from _judged("nlp.embed of a short text, less its run time", embeds)


def _latencies(running: Measured, job_type: str, inputs: list[dict[str, Any]], count: int) -> list[float]:
    """Milliseconds from request to result, less the run that the job's usage states."""
    found = []
    with running.wire() as connection:
        for number in range(count + 20):
            body = json.dumps({"type": job_type, "input": inputs[number % len(inputs)]}).encode()
            request = connection.prepared("POST", "/v1/jobs", body, ("Prefer: wait=10",))
            start = time.perf_counter()
            answer = connection.exchange(request)
            took = (time.perf_counter() - start) * 1e3
            job = answer.json()
            if answer.status != 200 or job["status"] != "succeeded":
                raise RuntimeError(f"{job_type} was answered {answer.status}: {answer.body[:300]!r}")
            found.append(took - job["usage"]["run_ms"] if job_type != "system.echo" else took)
            time.sleep(random.uniform(0.02, 0.05))
    return found[20:]


def _judged(name: str, latencies: list[float]) -> Iterator[Row]:
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    yield at_most(GROUP, f"{name}: p50 of {len(latencies)}", cuts[49], "ms", P50_MS)
    yield at_most(GROUP, f"{name}: p99", cuts[98], "ms", P99_MS)
