"""What the server of the embedded stack keeps of jobs that came and went: nothing, also of its own memory."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from builders import QUEUE, RUNNER, a_job
from pydantic import SecretStr

from callboard_embedded.folder import Folder
from callboard_embedded.valkey import MALLOC, configure
from callboard_shared.ledger import Ended, Ledger, verbs
from callboard_shared.settings import LedgerSettings

BATCH, MB = 200, 1024 * 1024


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[tuple[Ledger, psutil.Process]]:
    """A server as the embedded stack starts it."""
    folder = Folder(tmp_path)
    folder.make()
    configured = configure(folder)
    server = subprocess.Popen(configured.argv, env={**os.environ, **MALLOC}, stdout=subprocess.DEVNULL)
    ledger = Ledger(LedgerSettings(redis_url=SecretStr(configured.url)))
    assert asyncio.run(configured.wait(10))
    yield ledger, psutil.Process(server.pid)
    ledger.close()
    server.kill()
    server.wait()


def pass_through(ledger: Ledger, count: int) -> None:
    """Submit, claim, finish and forget."""
    for _ in range(count // BATCH):
        jobs = [a_job(retention_ms=1) for _ in range(BATCH)]
        ledger.run(verbs.submit(QUEUE, jobs))
        limits = {jobs[0].type: (BATCH, 0)}
        claim = verbs.claim(QUEUE, RUNNER, limits=limits, max_jobs=BATCH, lease_ms=60_000)
        ended = [Ended(job.id, job.attempt, "succeeded", b"1") for job in ledger.run(claim).jobs]
        ledger.run(verbs.finish(QUEUE, RUNNER, ended, 1))
    deadline = time.monotonic() + 10
    while ledger.run(verbs.sweep(QUEUE)).forgotten or ledger.run(verbs.queue_stats(QUEUE)).ready:
        assert time.monotonic() < deadline


def test_jobs_that_came_and_went_leave_the_servers_memory_as_it_was(
    embedded: tuple[Ledger, psutil.Process],
) -> None:
    ledger, server = embedded
    pass_through(ledger, 20_000)  # until its free lists are full
    warm = server.memory_info().rss
    pass_through(ledger, 10_000)
    assert (server.memory_info().rss - warm) / MB < 8
