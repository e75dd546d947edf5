"""RabbitMQ as the broker, the ledger in Valkey: bells are heard, also when the broker was away, and pickles refused."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "doubles"))

from rabbitmq import MISSING, RabbitMQ, installed, rabbitmq_at
from test_only_json import KINDS, Planted, put
from trials import Trial, trial_at, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not installed(), reason=MISSING)]


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    with rabbitmq_at(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


@pytest.fixture
def trial(rabbitmq: RabbitMQ, valkey_url: str, tmp_path: Path) -> Iterator[Trial]:
    with trial_at(valkey_url, tmp_path, broker=rabbitmq.url) as running:
        yield running


@pytest.mark.parametrize(("pool", "slots"), [("prefork", 2), ("threads", 8)])
def test_jobs_run_and_a_killed_workers_jobs_run_again(trial: Trial, pool: str, slots: int) -> None:
    first = trial.worker(pool, slots)
    ids = trial.submit(*(trial.job("answer") for _ in range(50)))
    assert {record.status.value for record in trial.ended(ids, 30)} == {"succeeded"}
    (long,) = trial.submit(trial.job("sleep", s=3))
    trial.running(long)
    first.kill()
    trial.worker(pool, slots)
    assert trial.result(long, 30).status.value == "succeeded"
    assert trial.read(long).attempt == 2


def test_a_broker_that_was_away_loses_no_job(trial: Trial, rabbitmq: RabbitMQ) -> None:
    trial.worker("prefork", 2)
    (running,) = trial.submit(trial.job("sleep", s=2))
    trial.running(running)
    rabbitmq.stop()
    ids = trial.submit(*(trial.job("answer") for _ in range(20)), ring=False)
    assert trial.result(running, 20).status.value == "succeeded", "a job that runs needs no broker"
    rabbitmq.start()
    assert {record.status.value for record in trial.ended(ids, 60)} == {"succeeded"}
    assert {record.attempt for record in trial.read_all(ids)} == {1}


def test_what_is_no_json_is_refused_here_too(trial: Trial, rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    worker = trial.worker()
    body = pickle.dumps(((Planted(tmp_path / "planted"),), {}, {}))
    for content_type, encoding in KINDS:
        put(rabbitmq.url, body, content_type, encoding)
    until(lambda: worker.output().count("bell.refused") == len(KINDS), 20, "all are refused, and said")
    (job,) = trial.submit(trial.job("answer"))
    assert trial.result(job).status.value == "succeeded"
    assert not (tmp_path / "planted").exists()
