"""What a worker of the pool ``prefork`` makes of jobs, as long as nobody kills it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import orjson
import pytest
from trials import LEASE_S, Trial, code_of, trial_at, until, value_of

from callboard_shared.ledger import filing, verbs


@pytest.fixture(scope="module")
def trial(valkey_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """One worker for all tests here: none of them ends it."""
    with trial_at(valkey_server, tmp_path_factory.mktemp("prefork")) as running:
        running.worker()
        yield running


def test_a_job_runs_once_and_commits(trial: Trial) -> None:
    [job] = trial.submit(trial.job("give", {"deep": [1, None, "é"]}))
    record = trial.result(job)
    assert (record.status, value_of(record), record.attempt) == ("succeeded", {"deep": [1, None, "é"]}, 1)
    assert trial.statuses(job) == ["running", "succeeded"]
    assert len(trial.starts(job)) == 1


def test_jobs_that_wait_together_run_in_one_call(trial: Trial) -> None:
    [first] = trial.submit(trial.job("sleep", s=0.5))
    trial.running(first)
    calls = len(trial.notes("batches"))
    jobs = trial.submit(*(trial.job("give", i, type="trial.batch") for i in range(20)))
    assert [value_of(record) for record in trial.ended(jobs, 10)] == list(range(20))
    assert trial.notes("batches")[calls:] == ["8", "8", "4"]


def test_one_bad_job_of_a_batch_fails_alone(trial: Trial) -> None:
    orders = [("give", 1), ("spoil the batch", None), ("give", 2), ("bug", None), ("final", None)]
    jobs = trial.submit(*(trial.job(do, value, type="trial.batch") for do, value in orders))
    records = trial.ended(jobs, 10)
    assert [record.status for record in records] == ["succeeded", "failed", "succeeded", "failed", "failed"]
    assert [code_of(records[i]) for i in (1, 3, 4)] == ["handler-error", "handler-error", "trial-final"]


def test_an_input_that_this_worker_does_not_accept_fails_alone(trial: Trial) -> None:
    good, bad = trial.job("give", 1, type="trial.batch"), trial.job("give", 2, type="trial.batch")
    object.__setattr__(bad, "spec", b'{"input":{"do":7,"unknown":1},"metadata":{}}')
    records = trial.ended(trial.submit(good, bad), 10)
    assert [record.status for record in records] == ["succeeded", "failed"]
    assert code_of(records[1]) == "validation"


def test_a_handler_that_gives_too_few_results_fails_its_jobs_and_holds_none(trial: Trial) -> None:
    jobs = trial.submit(*(trial.job("too few", type="trial.batch") for _ in range(3)))
    assert {(record.status, code_of(record)) for record in trial.ended(jobs, 10)} == {
        ("failed", "handler-error")
    }
    assert trial.nothing_is_held()


def test_a_retryable_error_is_tried_again_after_a_pause_and_may_succeed(trial: Trial) -> None:
    [job] = trial.submit(trial.job("retry", 3))
    record = trial.result(job, 15)
    assert (record.status, record.attempt) == ("succeeded", 3)
    assert trial.statuses(job) == ["running", "scheduled", "queued"] * 2 + ["running", "succeeded"]
    assert record.error is None


def test_files_of_an_attempt_that_is_tried_again_are_not_kept(trial: Trial) -> None:
    before = set(trial.folder.glob("files/**/*"))
    [job] = trial.submit(trial.job("retry", 2))
    assert trial.result(job).files == ()
    assert {path for path in set(trial.folder.glob("files/**/*")) - before if path.is_file()} == set()


def test_a_job_fails_when_its_attempts_are_used_up(trial: Trial) -> None:
    [job] = trial.submit(trial.job("retry", 99, max_attempts=2))
    record = trial.result(job, 10)
    assert (record.status, record.attempt, code_of(record)) == ("failed", 2, "job-failed")


def test_an_unknown_exception_ends_the_job_at_once_and_tells_no_secret(trial: Trial) -> None:
    [job] = trial.submit(trial.job("bug"))
    record = trial.result(job)
    assert (record.status, record.attempt, code_of(record)) == ("failed", 1, "handler-error")
    assert b"NotedError: [secret] ?" in (record.error or b"")


@pytest.mark.parametrize("do", ["exit", "panic"])
@pytest.mark.parametrize("job_type", ["trial.one", "trial.batch"])
def test_what_is_no_exception_fails_the_job_and_not_the_worker(trial: Trial, do: str, job_type: str) -> None:
    [job, after] = trial.submit(trial.job(do, type=job_type), trial.job("give", 5, type=job_type))
    assert (trial.result(job).status, code_of(trial.result(job))) == ("failed", "handler-error")
    assert trial.result(after).status == "succeeded"


def test_a_job_type_that_the_worker_does_not_know_is_left_to_a_newer_one(trial: Trial) -> None:
    [job] = trial.submit(trial.job("give", type="trial.of-tomorrow"))
    until(lambda: trial.read(job).status == "scheduled", 5, "it waits for another worker")
    assert code_of(trial.read(job)) == "unsupported-type"
    trial.ledger.run(verbs.cancel(job, "nlp"))


def test_a_job_five_times_longer_than_its_lease_runs_once(trial: Trial) -> None:
    [job] = trial.submit(trial.job("sleep", s=5 * LEASE_S))
    record = trial.result(job, 5 * LEASE_S + 5)
    assert (record.status, record.attempt, len(trial.starts(job))) == ("succeeded", 1, 1)


def test_a_polite_handler_sees_a_cancel_within_a_second(trial: Trial) -> None:
    [job] = trial.submit(trial.job("polite", s=30))
    trial.running(job)
    assert trial.ledger.run(verbs.cancel(job, "nlp")) == "canceling"
    assert trial.result(job, 1).status == "canceled"
    assert trial.statuses(job) == ["running", "canceling", "canceled"]


def test_a_polite_handler_past_its_time_fails_with_timeout(trial: Trial) -> None:
    [job] = trial.submit(trial.job("polite", s=30, timeout_ms=300))
    record = trial.result(job, 2.5)
    assert (record.status, code_of(record)) == ("failed", "timeout")


def test_a_large_output_becomes_a_file_of_the_job(trial: Trial) -> None:
    [job] = trial.submit(trial.job("big", 300_000))
    record = trial.result(job)
    reference = orjson.loads(record.output or b"")
    assert reference["bytes"] > 300_000 and reference["media_type"] == "application/json"
    assert record.files == (reference["file_id"],)
    assert orjson.loads(trial.files.get_bytes(reference["file_id"])) == {"value": "x" * 300_000}
    kept = trial.ledger.run(filing.get_file(reference["file_id"]))
    assert kept is not None and kept.owner == "key_a"


def test_events_come_complete_and_in_order(trial: Trial) -> None:
    [slow, fast] = trial.submit(trial.job("talk", 60, s=0.02), trial.job("talk", 500))
    for job, count in ((slow, 60), (fast, 500)):
        trial.result(job, 15)
        said = [(kind, data) for kind, data in trial.events(job) if kind != "status"]
        kinds = [kind for kind, _ in said]
        assert kinds == ["delta", "progress", "log"] * count
        assert "".join(data["text"] for kind, data in said if kind == "delta") == "".join(
            f"{i} " for i in range(count)
        )
        assert [data["message"] for kind, data in said if kind == "log"] == [
            f"line {i}" for i in range(count)
        ]
        assert [kind for kind, _ in trial.events(job)][0 :: len(said) + 1] == ["status", "status"]


def test_a_paused_queue_starts_nothing_until_it_is_resumed(trial: Trial) -> None:
    trial.ledger.run(verbs.pause("nlp"))
    [job] = trial.submit(trial.job("give", 1))
    time.sleep(1.5)  # nothing announces that nothing happens
    assert trial.read(job).status == "queued"
    if trial.ledger.run(verbs.resume("nlp")).ring:
        trial.bell.ring("nlp")
    assert trial.result(job, 1).status == "succeeded"


def test_a_cold_bell_starts_a_job_within_a_second(trial: Trial) -> None:
    until(lambda: trial.redis.zcard("cb:{nlp}:runners") == 0, 5, "the worker has hung up")
    [job] = trial.submit(trial.job("give"))
    trial.running(job, 1)


def test_a_lost_bell_is_rung_again_within_three_seconds(trial: Trial) -> None:
    until(lambda: trial.redis.zcard("cb:{nlp}:runners") == 0, 5, "the worker has hung up")
    [job] = trial.submit(trial.job("give"), ring=False)
    trial.running(job, 3)


def test_work_that_comes_to_a_listening_worker_starts_at_once(trial: Trial) -> None:
    trial.result(trial.submit(trial.job("give"))[0])
    waits = []
    for _ in range(20):
        began = time.monotonic()
        [job] = trial.submit(trial.job("give"))
        trial.result(job)
        waits.append(time.monotonic() - began)
        time.sleep(0.05)
    assert sorted(waits)[10] < 0.1, waits  # by far: a stall here is one of a second


def test_a_handler_that_holds_the_interpreter_within_its_lease_keeps_its_job(trial: Trial) -> None:
    [job] = trial.submit(trial.job("hold the interpreter", s=LEASE_S * 0.6))
    record = trial.result(job)
    assert (record.status, record.attempt) == ("succeeded", 1)
