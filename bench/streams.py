"""Row group k: many open event streams on one gateway process: memory, and how soon an event is delivered.

The bench itself is the worker: it claims the jobs of a queue that no other worker serves, and reports on them.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import psutil
from pydantic import SecretStr

from bench.report import Row, at_most, plain
from bench.scale import Scale
from bench.stack import ECHO_ONLY, Measured, stack
from callboard_shared.ledger import AsyncLedger, ClaimedJob, Ended, verbs
from callboard_shared.settings import LedgerSettings

GROUP = "k. event streams, all on one gateway process"
QUEUE, TYPE, RUNNER = "nlp", "nlp.embed", "bench@here#1"
JOB = {"type": TYPE, "input": {"texts": ["hello"]}}
MEMORY_MB = 1000.0
BATCH, CLAIM, OPENING = 1000, 500, 200
LEASE_MS = 600_000
SPARE_FILES = 500
"""Of the files that this process may open, those left for other things than streams."""
SOON_S = 120.0


def rows(scale: Scale) -> Iterator[Row]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the stack's processes inherit it
    try:
        with stack(ECHO_ONLY) as measured:
            yield from asyncio.run(_measure(measured, min(scale.streams, hard - SPARE_FILES), scale))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Listener(asyncio.Protocol):
    """One open stream; ``arrived`` is the moment of the last bytes, ``changed`` is set when some come."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._tail = b""
        self.arrived = 0.0
        self.changed = asyncio.Event()
        self.open = self.refused = self.done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.arrived = time.perf_counter()
        seen = self._tail + data
        self.open = self.open or b"event: status" in seen
        self.refused = not self.open and seen.startswith(b"HTTP/1.1 503")
        self.done = self.done or b"event: done" in seen
        self._tail = seen[-20:]
        self.changed.set()


async def _measure(measured: Measured, count: int, scale: Scale) -> list[Row]:
    gateway = next(
        one
        for one in psutil.Process(measured.pid).children()
        if "callboard_gateway" in " ".join(one.cmdline())
    )
    ledger = AsyncLedger(LedgerSettings(redis_url=SecretStr(measured.redis_url), redis_timeout_s=10))
    ids = _submit(measured, count)
    jobs = {job.id: job for job in await _claim(ledger, count)}
    before = gateway.memory_info().rss
    start = time.perf_counter()
    streams = await _open(measured, ids)
    opened_s = time.perf_counter() - start
    held = gateway.memory_info().rss
    quiet = await _latencies(ledger, jobs, streams, scale.idle_requests)
    cpu = gateway.cpu_times()
    await asyncio.sleep(scale.quiet_s)
    idle = sum(gateway.cpu_times()[:2]) - sum(cpu[:2])
    ended_s = await _end(ledger, list(jobs.values()), streams)
    most = max(held, gateway.memory_info().rss)
    for stream in streams.values():
        stream.transport.abort()
    await ledger.close()
    cuts = statistics.quantiles(quiet, n=100, method="inclusive")
    return [
        at_most(GROUP, f"gateway: resident, {count:,} streams open and all of them ended", most / 1e6, "MB", MEMORY_MB),
        plain(GROUP, "what one open stream takes", [(held - before) / count / 1e3], "kB"),
        plain(GROUP, f"until {count:,} streams were open", [opened_s], "s"),
        plain(GROUP, f"an event to one of {count:,}: p50 of {len(quiet)}", [cuts[49]], "ms"),
        plain(GROUP, f"an event to one of {count:,}: p99", [cuts[98]], "ms"),
        plain(GROUP, "gateway: share of a core while nothing happens", [100 * idle / scale.quiet_s], "%"),
        plain(GROUP, f"{count:,} jobs end at once: until the last stream has told", [ended_s], "s"),
    ]  # fmt: skip


def _submit(measured: Measured, count: int) -> list[str]:
    ids: list[str] = []
    with measured.wire() as connection:
        while len(ids) < count:
            jobs = [JOB] * min(BATCH, count - len(ids))
            body = json.dumps({"jobs": jobs}).encode()
            answer = connection.exchange(connection.prepared("POST", "/v1/jobs:batch", body))
            ids += [job["id"] for job in answer.json()["data"]]
    return ids


async def _claim(ledger: AsyncLedger, count: int) -> list[ClaimedJob]:
    call = verbs.claim(QUEUE, RUNNER, limits={TYPE: (CLAIM, 0)}, max_jobs=CLAIM, lease_ms=LEASE_MS)
    claimed: list[ClaimedJob] = []
    while len(claimed) < count:
        claimed += (await ledger.run(call)).jobs
    return claimed


async def _open(measured: Measured, ids: Sequence[str]) -> dict[str, Listener]:
    """A stream of each job, so many at a time; when all have told something."""
    url, loop, turn = urlsplit(measured.url), asyncio.get_running_loop(), asyncio.Semaphore(OPENING)

    async def one(job_id: str) -> Listener:
        request = (
            f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {measured.key}\r\n\r\n"
        ).encode()
        async with turn:
            while True:
                transport, listener = await loop.create_connection(
                    lambda: Listener(request), url.hostname, url.port
                )
                while not (listener.open or listener.refused):
                    await asyncio.wait_for(listener.changed.wait(), SOON_S)
                    listener.changed.clear()
                if listener.open:
                    return listener
                transport.abort()  # on a machine with too much else to do; as any client, come back
                await asyncio.sleep(1)

    opened = await asyncio.gather(*(one(job_id) for job_id in ids))
    await asyncio.sleep(1)  # what each had to tell of the start has been told
    return dict(zip(ids, opened, strict=True))


async def _latencies(
    ledger: AsyncLedger, jobs: dict[str, ClaimedJob], streams: dict[str, Listener], count: int
) -> list[float]:
    """Milliseconds from a worker's report to the bytes at the reader, for streams drawn at random, one after another."""
    taken = []
    draw = random.Random(17)
    for job_id in draw.choices(list(jobs), k=count):
        job, stream = jobs[job_id], streams[job_id]
        stream.changed.clear()
        start = time.perf_counter()
        await ledger.run(
            verbs.report(QUEUE, RUNNER, job.id, job.attempt, [("progress", b'{"fraction":0.5}')])
        )
        await asyncio.wait_for(stream.changed.wait(), SOON_S)
        taken.append((stream.arrived - start) * 1e3)
    return taken


async def _end(ledger: AsyncLedger, jobs: Sequence[ClaimedJob], streams: dict[str, Listener]) -> float:
    """Finish every job; seconds until each stream has told ``done``."""
    start = time.perf_counter()
    for at in range(0, len(jobs), CLAIM):
        ended = [Ended(job.id, job.attempt, "succeeded", b"{}") for job in jobs[at : at + CLAIM]]
        await ledger.run(verbs.finish(QUEUE, RUNNER, ended, 1))
    deadline = start + SOON_S
    while silent := sum(not stream.done for stream in streams.values()):
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{silent} of {len(streams)} streams have not told the end after {SOON_S:g} s")
        await asyncio.sleep(0.05)
    return max(stream.arrived for stream in streams.values()) - start
