"""The ledger is killed and comes back with its append-only file: no worker is restarted, every job ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "doubles"))

from own_valkey import EVERY_WRITE, Server
from trials import QUEUE, trial_at, until

from callboard_shared.ledger import verbs


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "valkey", EVERY_WRITE)
    yield running
    running.end()


@pytest.mark.parametrize(("pool", "slots"), [("prefork", 2), ("threads", 8)])
def test_all_accepted_jobs_end_although_the_ledger_dies_while_they_run(
    server: Server, tmp_path: Path, pool: str, slots: int
) -> None:
    with trial_at(server.url, tmp_path) as trial:
        worker = trial.worker(pool, slots)
        jobs = trial.submit(*(trial.job("sleep", s=0.1, max_attempts=10) for _ in range(60)))
        until(lambda: trial.stats().ready < 50, 10, "some have run")
        server.kill()
        time.sleep(3)  # the length of the outage
        server.start()
        back = time.monotonic()
        records = trial.ended(jobs, 30)
        assert [record.error for record in records if record.status != "succeeded"] == []
        assert all(trial.statuses(job).count("succeeded") == 1 for job in jobs)
        # The answer that was going on in the outage ends, and is acknowledged if that is due, before the next job.
        until(lambda: not trial.ledger.run(verbs.runners(QUEUE)), 20, "the answer is over")
        [later] = trial.submit(trial.job("give"))
        trial.result(later, 20)
        assert worker.process.poll() is None
        print(f"{pool}: all ended {time.monotonic() - back:.1f} s after the ledger was back")


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_an_idle_worker_hears_the_bell_again_after_the_ledger_was_away(
    server: Server, tmp_path: Path, pool: str
) -> None:
    with trial_at(server.url, tmp_path) as trial:
        worker = trial.worker(pool)
        trial.result(trial.submit(trial.job("give"))[0])
        server.kill()
        time.sleep(2)  # the length of the outage
        server.start()
        [job] = trial.submit(trial.job("give"))
        trial.running(job, 10)
        assert worker.process.poll() is None
