"""Plain Celery under the same kills, beside ours in the table: what the ledger is for.

Nothing is asserted of it but that it ran, and that the kills hit something; its figures are the finding.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery
from scale import FULL, dice, pick
from table import TABLE, Row
from yard import until

pytestmark = pytest.mark.skipif(not FULL, reason="a comparison: of make chaos")
ARGV = ["-m", "celery", "-A", "plain_celery", "worker", "-c", "1", "-P", "prefork", "--without-gossip",
        "--without-mingle", "-l", "WARNING"]  # fmt: skip
GIVEN_UP_S = pick(15, 45)
"""Nothing has happened for several visibility timeouts: what has not ended will not."""


class Rival:
    """Workers of plain Celery, each a process group of its own, and what they noted."""

    def __init__(self, url: str, folder: Path, celery: Celery) -> None:
        self.url, self.folder, self.celery = url, folder, celery
        self.notes = redis.Redis.from_url(url.removesuffix("/0") + "/1")
        self.workers: list[subprocess.Popen[bytes]] = []
        self.sent: list[int] = []

    def start(self) -> subprocess.Popen[bytes]:
        env = {**os.environ, "CHAOS_BROKER": self.url, "PYTHONPATH": str(Path(__file__).parent)}
        with (self.folder / "plain.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, *ARGV, "-n", f"plain{len(self.sent)}-{time.monotonic_ns()}@here"], env=env,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.workers.append(worker)
        return worker

    def send(self, seconds: float) -> int:
        number = len(self.sent)
        self.celery.send_task("errand", args=(number, seconds), ignore_result=True)
        self.sent.append(number)
        return number

    def signal(self, worker: subprocess.Popen[bytes], number: signal.Signals) -> None:
        os.killpg(worker.pid, number)

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        if worker.poll() is None:
            self.signal(worker, signal.SIGKILL)
        worker.wait()
        self.workers.remove(worker)

    def noted(self, name: str) -> list[list[str]]:
        return [row.decode().split() for row in self.notes.lrange(name, 0, -1)]

    def await_ends(self) -> None:
        """Until all have ended, or nothing has happened for long."""
        seen, since = 0, time.monotonic()
        while len({row[0] for row in self.noted("ended")}) < len(self.sent):
            if (now := self.notes.llen("started") + self.notes.llen("ended")) != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() - since > GIVEN_UP_S:
                return
            time.sleep(0.25)

    def row(self, fault: str, faults: int, killed: list[tuple[int, float]]) -> Row:
        ends = Counter(int(row[0]) for row in self.noted("ended"))
        starts = self.noted("started")
        waits = []
        for group, at in killed:
            ran = {int(n) for n, started, own in starts if int(own) == group and float(started) < at}
            for number in ran:
                if not any(int(n) == number and float(when) < at for n, when in self.noted("ended")):
                    again = [
                        float(started) for n, started, _ in starts if int(n) == number and float(started) > at
                    ]
                    waits += [min(again) - at] if again else []
        lost = [number for number in self.sent if not ends[number]]
        twice = [number for number, count in ends.items() if count > 1]
        return Row(fault, len(self.sent), faults, len(lost), len(twice), waits, "for comparison")


@pytest.fixture
def rival(valkey_url: str, tmp_path: Path) -> Iterator[Rival]:
    with Celery("sender", broker=valkey_url, set_as_current=False) as celery:
        running = Rival(valkey_url, tmp_path, celery)
        yield running
        for worker in list(running.workers):
            running.kill(worker)
        running.notes.close()


def ready(rival: Rival, count: int) -> None:
    """Once a task has gone through each of so many workers."""
    until(lambda: len(rival.celery.control.ping(timeout=0.5) or ()) >= count, 60, "its workers are up", 0.2)


def test_plain_celery_under_the_same_kills(rival: Rival) -> None:
    kills, least = pick((8, 400), (50, 3_000))
    chance = dice("plain kills")
    for _ in range(3):
        rival.start()
    ready(rival, 3)
    stop, killed = threading.Event(), []

    def submit() -> None:
        while not stop.wait(1 / pick(30, 20)) or len(rival.sent) < least:
            rival.send(chance.uniform(0.05, 0.3) if chance.random() < 0.2 else 0)

    sender = threading.Thread(target=submit)
    sender.start()
    for _ in range(kills):
        time.sleep(chance.uniform(0.3, 2.0))  # the moment is what is random
        ready(rival, 2)
        victim = chance.choice(rival.workers)
        rival.kill(victim)
        killed.append((victim.pid, time.time()))
        rival.start()
    stop.set()
    sender.join()
    rival.await_ends()
    TABLE.append(rival.row("plain Celery: SIGKILL of worker trees", kills, killed))
    assert rival.notes.llen("ended") > least / 2


def test_plain_celery_when_an_idle_worker_is_stopped_and_killed(rival: Rival) -> None:
    turns = pick(3, 10)
    for _ in range(2):
        rival.start()
    ready(rival, 2)
    for turn in range(turns):
        victim = rival.workers[turn % 2]
        rival.signal(victim, signal.SIGSTOP)
        for _ in range(
            2
        ):  # Redis gives one of them to whoever has waited longest: also to the one that is stopped
            rival.send(0)
        time.sleep(0.2)  # it is on its way
        rival.kill(victim)
        rival.start()
        ready(rival, 2)
    rival.await_ends()
    TABLE.append(rival.row("plain Celery: idle worker stopped, job published, worker killed", turns, []))
    assert rival.notes.llen("ended") > 0
