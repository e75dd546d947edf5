"""What a POST costs at least: bare FastAPI with one Redis pipeline, in requests a second."""

from __future__ import annotations

import json
import socket
import tempfile
from pathlib import Path

from bench.processes import running, wait_until
from bench.valkey import valkey
from bench.wire import wrk_post
from callboard_embedded.ports import free_port


def bare_fastapi_rate(count: int, connections: int) -> float:
    """POSTs a second of one uvicorn process (uvloop, httptools), loaded by wrk, on a Valkey of its own."""
    port = free_port()
    command = ("-m", "uvicorn", "bench.rivals.fastapi_pipeline:app", "--port", str(port), "--no-access-log",
               "--loop", "uvloop", "--http", "httptools", "--log-level", "warning")  # fmt: skip
    with (
        valkey() as url,
        tempfile.TemporaryDirectory() as folder,
        running(command, {"BENCH_BROKER": f"{url}/0"}, Path(folder, "log")),
    ):
        wait_until(lambda: listens(port), 30, "bare FastAPI listens")
        body = json.dumps({"type": "system.echo", "input": {"value": 1}})
        target = f"http://127.0.0.1:{port}/v1/jobs"
        wrk_post(target, [body], 500, connections)
        posted = wrk_post(target, [body], count, connections)
    if set(posted.statuses) != {202}:
        raise RuntimeError(f"bare FastAPI answered {posted.statuses}")
    return posted.statuses[202] / posted.seconds


def listens(port: int) -> bool:
    """Whether something accepts connections on this port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
