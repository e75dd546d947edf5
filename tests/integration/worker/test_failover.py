"""A primary dies, or gives its part to a replica: who knows the Sentinels goes on with the one that they name."""

from __future__ import annotations

import itertools
import random
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "doubles"))

from own_valkey import free_port
from sentinels import PASSWORD, Watched, watched_at
from trials import QUEUE, Trial, trial_at, until

from callboard_shared.ledger import verbs

pytestmark = pytest.mark.slow

ADMIN_KEY = "cb_testtest_" + "k" * 43


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Watched]:
    folder = tmp_path / "servers"
    folder.mkdir()
    with watched_at(folder) as watched:
        yield watched


@pytest.fixture
def trial(group: Watched, tmp_path: Path) -> Iterator[Trial]:
    with trial_at(group.url, tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    ("pool", "slots", "how"), [("prefork", 2, Watched.kill_primary), ("threads", 8, Watched.fail_over)]
)
def test_a_worker_outlives_the_change(
    group: Watched, trial: Trial, pool: str, slots: int, how: Callable[[Watched], object]
) -> None:
    worker = trial.worker(pool, slots)
    jobs = trial.submit(*(trial.job("sleep", s=0.2, max_attempts=10) for _ in range(20 * slots)))
    until(lambda: trial.stats().ready < 16 * slots, 20, "some have run")
    until(group.copied, 10, "the replica has them")
    how(group)
    records = trial.ended(jobs, 60)
    assert [record.error for record in records if record.status != "succeeded"] == []
    until(lambda: not trial.ledger.run(verbs.runners(QUEUE)), 20, "the answer is over")
    [later] = trial.submit(trial.job("give"))
    trial.running(later, 20)
    assert worker.process.poll() is None
    assert PASSWORD not in worker.output()


class Users:
    """Submit through a gateway, each job under a key of its own, again and again until it is answered 202."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.accepted: list[str] = []
        self.refused: set[tuple[int, str]] = set()
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._submit) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _submit(self) -> None:
        with httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}) as client:
            while not self._stop.is_set():
                number = next(self._numbers)
                job = {"type": "system.echo", "input": {"value": number}, "max_attempts": 10}
                while True:
                    answer = client.post("/v1/jobs", json=job, headers={"Idempotency-Key": f"order-{number}"})
                    if answer.is_success:  # 202; 200 if a try that was refused had been taken, and has run
                        self.accepted.append(answer.json()["id"])
                        break
                    self.refused.add((answer.status_code, answer.json()["code"]))
                    if self._stop.wait(0.05):
                        return

    def more(self, count: int, within_s: float) -> None:
        enough = len(self.accepted) + count
        until(lambda: len(self.accepted) >= enough, within_s, f"{count} more are accepted; {self.refused}")

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)


def test_what_was_accepted_with_a_replica_outlives_its_primary(group: Watched, trial: Trial) -> None:
    port = free_port()
    gateway = trial.start("callboard_gateway", {
        "CALLBOARD_PORT": str(port), "CALLBOARD_ADMIN_KEY": ADMIN_KEY, "CALLBOARD_SUBMIT_REPLICAS": "1",
        "CALLBOARD_RATE_LIMIT_PER_S": "0",
    })  # fmt: skip
    trial.start("callboard_courier", {})
    url = f"http://127.0.0.1:{port}"
    until(lambda: _ready(url), 30, "the gateway is ready")
    users = Users(url)
    try:
        users.more(100 + random.randrange(100), 30)
        killed = group.kill_primary()
        killed.start()  # as a replica: its Sentinels tell it so
        users.more(100, 60)
    finally:
        users.end()
    assert users.refused == {(503, "ledger-unavailable")}, gateway.output()[-8000:]
    assert len(set(users.accepted)) == len(users.accepted)
    records = trial.ended(users.accepted, 60, "system")
    assert len(records) == len(users.accepted), "none is lost"
    assert {record.status.value for record in records} == {"succeeded"}
    assert PASSWORD not in gateway.output()
    print(f"{len(records)} jobs accepted over a failover, 0 lost")


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.ConnectError:
        return False
