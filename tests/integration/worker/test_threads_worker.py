"""What a worker of the pool ``threads`` makes of coroutines: many at once, each on its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import pytest
from trials import LEASE_S, Trial, code_of, trial_at, until, value_of

from callboard_shared.ledger import verbs


@pytest.fixture(scope="module")
def trial(valkey_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """One worker with room for eight jobs, for all tests here: none of them ends it."""
    with trial_at(valkey_server, tmp_path_factory.mktemp("threads")) as running:
        running.worker("threads", 8)
        yield running


def test_a_job_runs_once_and_commits(trial: Trial) -> None:
    [job] = trial.submit(trial.job("give", {"deep": [1, None, "é"]}))
    record = trial.result(job)
    assert (record.status, value_of(record), record.attempt) == ("succeeded", {"deep": [1, None, "é"]}, 1)
    assert trial.statuses(job) == ["running", "succeeded"]
    assert len(trial.starts(job)) == 1


def test_jobs_run_beside_each_other_as_far_as_there_is_room(trial: Trial) -> None:
    jobs = trial.submit(*(trial.job("sleep", s=0.5) for _ in range(12)))
    until(lambda: trial.stats().running == 8, 3, "eight run at once")
    assert trial.stats().ready == 4
    began = time.monotonic()
    trial.ended(jobs, 5)
    assert time.monotonic() - began < 2


def test_a_job_that_comes_while_others_run_starts_at_once(trial: Trial) -> None:
    [long] = trial.submit(trial.job("sleep", s=8))
    trial.running(long)
    waits = []
    for _ in range(20):
        time.sleep(0.13)  # at every phase of the runner's rounds of a second
        began = time.monotonic()
        trial.result(trial.submit(trial.job("give"))[0])
        waits.append(time.monotonic() - began)
    assert max(waits) < 0.5 and statistics.median(waits) < 0.1, waits
    trial.ledger.run(verbs.cancel(long, "nlp"))
    assert trial.result(long, 1).status == "canceled"


@pytest.mark.parametrize(("do", "code"), [("bug", "handler-error"), ("exit", "handler-error"),
                                          ("panic", "handler-error"), ("final", "trial-final")])  # fmt: skip
def test_a_job_that_fails_leaves_those_beside_it_alone(trial: Trial, do: str, code: str) -> None:
    [beside, bad] = trial.submit(trial.job("sleep", s=0.5), trial.job(do))
    assert (trial.result(bad).status, code_of(trial.result(bad))) == ("failed", code)
    record = trial.result(beside)
    assert (record.status, record.attempt) == ("succeeded", 1)
    assert trial.nothing_is_held()


def test_a_retryable_error_is_tried_again(trial: Trial) -> None:
    [job] = trial.submit(trial.job("retry", 2))
    record = trial.result(job)
    assert (record.status, record.attempt, record.files) == ("succeeded", 2, ())


def test_a_coroutine_past_its_time_fails_with_timeout(trial: Trial) -> None:
    [job] = trial.submit(trial.job("sleep", s=60, timeout_ms=300))
    record = trial.result(job, 2.5)
    assert (record.status, code_of(record)) == ("failed", "timeout")


def test_a_job_five_times_longer_than_its_lease_runs_once(trial: Trial) -> None:
    [job] = trial.submit(trial.job("sleep", s=5 * LEASE_S))
    record = trial.result(job, 5 * LEASE_S + 5)
    assert (record.status, record.attempt, len(trial.starts(job))) == ("succeeded", 1, 1)


def test_a_cancel_at_any_moment_leaves_nothing_held(trial: Trial) -> None:
    """Also just while the job ends: then it may have succeeded, but its place is free again."""
    for pause_ms in range(0, 60, 2):
        [job] = trial.submit(trial.job("sleep", s=0.03))
        time.sleep(pause_ms / 1000)
        trial.ledger.run(verbs.cancel(job, "nlp"))
        assert trial.result(job, 3).status in ("canceled", "succeeded")
    until(trial.nothing_is_held, 2, "no job is held")
    jobs = trial.submit(*(trial.job("sleep", s=0.3) for _ in range(8)))
    until(lambda: trial.stats().running == 8, 3, "all places are free")
    trial.ended(jobs, 5)


def test_a_file_of_a_job_is_recorded_with_it(trial: Trial) -> None:
    [job] = trial.submit(trial.job("file"))
    record = trial.result(job)
    assert record.files == (value_of(record),)
    assert trial.files.get_bytes(record.files[0]) == b"made"


def test_events_come_complete_and_in_order(trial: Trial) -> None:
    [job] = trial.submit(trial.job("talk", 500))
    trial.result(job, 15)
    said = [(kind, data) for kind, data in trial.events(job) if kind != "status"]
    assert [kind for kind, _ in said] == ["delta", "progress", "log"] * 500
    assert "".join(data["text"] for kind, data in said if kind == "delta") == "".join(
        f"{i} " for i in range(500)
    )
