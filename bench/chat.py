"""Row group i: llm.chat, streamed: when its first word comes, and how many are held at once by one worker."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench.processes import running, wait_until
from bench.report import Row, at_least, at_most, plain
from bench.rivals.chat_provider import KEY, PAUSE_S, SLOW, WORDS
from bench.scale import Scale
from bench.stack import LLM_ONLY, Measured, stack

GROUP = "i. llm.chat, streamed, with a provider on this machine"
P50_MS, P99_MS, WORKER_MB = 15.0, 50.0, 300.0
WARM_UP = 20
HELD = 200
"""Chats at once; the worker takes 256."""
SAID = [{"role": "user", "content": "Say hello."}]


def rows(scale: Scale) -> Iterator[Row]:
    with _provider() as url, stack(LLM_ONLY, {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": url}) as measured:
        yield from _first_words(scale.idle_requests, url, measured)
        yield from _held(measured)


def _first_words(count: int, url: str, measured: Measured) -> Iterator[Row]:
    """Each of Callboard's first words less the median of the provider's own, asked in turn on kept connections."""
    bearer = {"Authorization": f"Bearer {KEY}"}
    with (
        httpx.Client(base_url=url, headers=bearer, timeout=30) as provider,
        httpx.Client(base_url=measured.url, headers=_bearer(measured), timeout=30) as callboard,
    ):
        taken = [
            (_clocked(_directly, provider), _clocked(_by_a_job, callboard)) for _ in range(count + WARM_UP)
        ]
    direct, by_job = ([pair[way] * 1e3 for pair in taken[WARM_UP:]] for way in (0, 1))
    base = statistics.median(direct)
    cuts = statistics.quantiles([took - base for took in by_job], n=100, method="inclusive")
    yield plain(GROUP, "first word from the provider itself", direct, "ms")
    yield at_most(
        GROUP, f"Callboard adds, POST /v1/jobs and its events: p50 of {count}", cuts[49], "ms", P50_MS
    )
    yield at_most(GROUP, "Callboard adds: p99", cuts[98], "ms", P99_MS)


def _clocked(first_word: Callable[[httpx.Client], None], client: httpx.Client) -> float:
    start = time.perf_counter()
    first_word(client)
    return time.perf_counter() - start


def _directly(provider: httpx.Client) -> None:
    body = {"model": "gpt-4o", "messages": SAID, "stream": True}
    with provider.stream("POST", "/chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line.removeprefix("data: "))["choices"]
                if choices and choices[0]["delta"].get("content"):
                    return
    raise RuntimeError("the provider said nothing")


def _by_a_job(callboard: httpx.Client) -> None:
    posted = callboard.post("/v1/jobs", json={"type": "llm.chat", "input": {"messages": SAID}})
    with callboard.stream("GET", f"/v1/jobs/{posted.raise_for_status().json()['id']}/events") as events:
        for line in events.iter_lines():
            if line == "event: delta":
                return
    raise RuntimeError("the job said nothing")


def _held(measured: Measured) -> Iterator[Row]:
    worker = next(
        one for one in psutil.Process(measured.pid).children() if "callboard_llm" in " ".join(one.cmdline())
    )
    seen = asyncio.run(_all_at_once(measured, worker))
    length = WORDS * PAUSE_S
    yield at_least(GROUP, f"of {HELD} slow chats, running at once", [seen["most"]], "", HELD, 1, "those sent")
    yield at_most(GROUP, "the worker's memory meanwhile, all processes", seen["megabytes"], "MB", WORKER_MB)
    yield plain(
        GROUP, f"until the last had ended, of {length:g} s that each was spoken for", [seen["took_s"]], "s"
    )


async def _all_at_once(measured: Measured, worker: psutil.Process) -> dict[str, float]:
    """Submit, listen to every one, and look at queue and worker meanwhile. Raises RuntimeError unless all are whole."""
    job = {"type": "llm.chat", "input": {"messages": SAID, "model": SLOW}}
    limits = httpx.Limits(max_connections=HELD + 10)
    seen = {"most": 0.0, "megabytes": 0.0}
    async with httpx.AsyncClient(
        base_url=measured.url, headers=_bearer(measured), timeout=120, limits=limits
    ) as client:
        start = time.perf_counter()
        posted = await client.post("/v1/jobs:batch", json={"jobs": [job] * HELD})
        ids = [one["id"] for one in posted.raise_for_status().json()["data"]]
        listeners = [asyncio.create_task(_words(client, job_id)) for job_id in ids]
        while not all(listener.done() for listener in listeners):
            queues: dict[str, Any] = (await client.get("/v1/queues")).json()
            running_now = next(queue["running"] for queue in queues["data"] if queue["name"] == "llm")
            seen["most"] = max(seen["most"], running_now)
            processes = [worker, *worker.children(recursive=True)]
            seen["megabytes"] = max(
                seen["megabytes"], sum(one.memory_full_info().pss for one in processes) / 1e6
            )
            await asyncio.sleep(0.5)
        seen["took_s"] = time.perf_counter() - start
    if any(listener.result() != WORDS for listener in listeners):
        raise RuntimeError(f"not all chats were whole: {[one.result() for one in listeners]}")
    return seen


async def _words(client: httpx.AsyncClient, job_id: str) -> int:
    """How many words a job's events tell, to the end of their stream."""
    said, kind = "", ""
    async with client.stream("GET", f"/v1/jobs/{job_id}/events") as events:
        async for line in events.aiter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif kind == "delta" and line.startswith("data: "):
                said += json.loads(line.removeprefix("data: "))["text"]
    return len(said.split())


def _bearer(measured: Measured) -> dict[str, str]:
    return {"Authorization": f"Bearer {measured.key}"}


@contextmanager
def _provider() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="callboard-bench-") as folder:
        log = Path(folder, "provider.log")
        with running(("-m", "bench.rivals.chat_provider"), {}, log, sys.executable):
            wait_until(lambda: log.read_text().startswith("http"), 30, "the provider serves")
            yield log.read_text().split()[0]
