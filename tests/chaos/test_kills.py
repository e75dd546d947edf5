"""Worker trees are killed at random while jobs run: none is lost, none is committed twice.

``CALLBOARD_CHAOS_JOBS``, ``CALLBOARD_CHAOS_KILLS`` and ``CALLBOARD_CHAOS_SEED`` make it longer, or the same again.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter

import pytest
from trials import LEASE_S, Running, Trial, until

from callboard_shared.ledger import verbs
from callboard_shared.states import TERMINAL

JOBS = int(os.environ.get("CALLBOARD_CHAOS_JOBS", "1000"))
KILLS = int(os.environ.get("CALLBOARD_CHAOS_KILLS", "8"))
SEED = int(os.environ.get("CALLBOARD_CHAOS_SEED", random.randrange(1_000_000)))
ATTEMPTS = 50  # a job may be hit by many kills; here only losing it would be wrong


class Chaos(threading.Thread):
    """Kills one of the workers, whole tree at once, and starts another; notes which jobs it interrupted."""

    def __init__(self, trial: Trial, workers: list[Running], dice: random.Random) -> None:
        super().__init__(name="chaos")
        self.trial, self.workers, self.dice = trial, workers, dice
        self.interrupted: list[tuple[str, int, float]] = []
        self.kills = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for _ in range(KILLS):
                time.sleep(self.dice.uniform(0.3, 2.0))  # the moment is what is random
                self.kill_one()
        except BaseException as error:
            self.error = error

    def kill_one(self) -> None:
        victim = self.workers.pop(self.dice.randrange(len(self.workers)))
        victim.kill()
        now = time.time()
        self.kills += 1
        for worker in self.trial.ledger.run(verbs.workers("nlp")):
            if worker.pid == victim.pid:
                held = self.trial.read_all(worker.running)
                self.interrupted += [(job.id, job.attempt, now) for job in held if not job.status.is_terminal]
        self.workers.append(self.trial.worker(ready=False))


@pytest.mark.chaos
def test_no_job_is_lost_or_done_twice_when_worker_trees_are_killed(trial: Trial) -> None:
    print(f"\nseed {SEED}")
    dice = random.Random(SEED)
    trial.sweep()
    workers = [trial.worker() for _ in range(2)]
    jobs: list[str] = []
    chaos = Chaos(trial, workers, dice)
    chaos.start()
    for i in range(0, JOBS, 50):
        # cheap ones in batches, slow ones one by one
        batch = [
            trial.job("sleep", s=dice.uniform(0.05, 0.3), max_attempts=ATTEMPTS)
            if dice.random() < 0.12
            else trial.job("give", i, type="trial.batch", max_attempts=ATTEMPTS)
            for i in range(i, i + 50)
        ]
        jobs += trial.submit(*batch)
        time.sleep(0.2)  # the load lasts as long as the kills
    chaos.join(120)
    assert chaos.error is None, chaos.error
    trial.ended(jobs, 90)
    until(trial.nothing_is_held, 5, "nothing is held")

    ends = {job: Counter(status for status in trial.statuses(job) if status in TERMINAL) for job in jobs}
    lost = [job for job, count in ends.items() if count.total() == 0]
    doubled = [job for job, count in ends.items() if count.total() > 1]
    waits = sorted(again_after(trial, *interruption) for interruption in chaos.interrupted)
    p99 = waits[min(len(waits) - 1, int(len(waits) * 0.99))] if waits else 0.0
    print(
        f"jobs {len(jobs)} · kills {chaos.kills} · interrupted {len(waits)} · lost {len(lost)} · "
        f"doubled {len(doubled)} · p99 until running again {p99:.2f} s (lease {LEASE_S:g} s) · "
        f"late commits refused {trial.stats().stale_commits}"
    )
    assert not lost and not doubled
    assert {trial.read(job).status for job in jobs} == {"succeeded"}
    assert p99 <= LEASE_S + 3


def again_after(trial: Trial, job_id: str, attempt: int, killed_at: float) -> float:
    """Seconds from the kill until the next attempt ran, by the times of the job's events."""
    for event in trial.ledger.run(verbs.events(job_id, "nlp", limit=10_000)):
        if event.kind == "status" and event.data == b'{"status":"running","attempt":%d}' % (attempt + 1):
            return int(event.id.partition("-")[0]) / 1000 - killed_at
    return 0.0  # it had ended in the moment of the kill
