"""Jobs into a running stack, singly by wrk or in batches by plain sockets, and the clock until all are committed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.stack import Measured, await_committed, await_idle, succeeded
from bench.wire import wrk_post

Job = dict[str, Any]


@dataclass(frozen=True)
class Rates:
    """Jobs a second: accepted (first request to last answer), and committed (first request to last commit)."""

    accepted: float
    committed: float


def singly(stack: Measured, jobs: Sequence[Job], count: int, connections: int, prefer: str = "") -> Rates:
    """POST ``count`` jobs, one a request, over so many connections at once.

    Raises ``RuntimeError`` when one is answered by anything but 200 or 202.
    """
    job_type = jobs[0]["type"]
    with stack.wire() as connection:
        before = succeeded(connection, job_type)
        bodies = [json.dumps(job) for job in jobs]
        posted = wrk_post(f"{stack.url}/v1/jobs", bodies, count, connections, key=stack.key, prefer=prefer)
        if not set(posted.statuses) <= {200, 202}:
            raise RuntimeError(f"single POSTs were answered {posted.statuses}")
        end = await_committed(connection, job_type, before + count)
        await_idle(connection)  # wrk leaves up to ``connections`` more behind
    if prefer and posted.statuses.get(200, 0) < count * 0.99:
        raise RuntimeError(f"Prefer: {prefer} was answered {posted.statuses}")
    return Rates(count / posted.seconds, count / ((posted.end if prefer else end) - posted.start))


def in_batches(stack: Measured, jobs: Sequence[Job], count: int, size: int, connections: int = 2) -> Rates:
    """POST ``count`` jobs to ``jobs:batch``, ``size`` a request, over so many connections at once."""
    job_type = jobs[0]["type"]
    with stack.wire() as connection:
        before = succeeded(connection, job_type)
        bodies = [_batch(jobs, at, size) for at in range(0, min(count, 8 * size), size)]
        left = iter(range(count // size))
        refused: list[str] = []
        lanes = [
            threading.Thread(target=_lane, args=(stack, bodies, left, refused)) for _ in range(connections)
        ]
        start = time.perf_counter()
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        accepted = time.perf_counter()
        if refused:
            raise RuntimeError(f"jobs:batch: {refused[0]}")
        total = count // size * size
        end = await_committed(connection, job_type, before + total)
    return Rates(total / (accepted - start), total / (end - start))


def _lane(stack: Measured, bodies: Sequence[bytes], left: Any, refused: list[str]) -> None:
    with stack.wire() as connection:
        requests = [connection.prepared("POST", "/v1/jobs:batch", body) for body in bodies]
        for number in left:
            answer = connection.exchange(requests[number % len(requests)])
            if answer.status != 202 or b'"retryable":' in answer.body:  # a problem among the jobs
                refused.append(f"{answer.status} {answer.body[:300]!r}")
                return


def _batch(jobs: Sequence[Job], at: int, size: int) -> bytes:
    return json.dumps({"jobs": [jobs[(at + i) % len(jobs)] for i in range(size)]}).encode()
