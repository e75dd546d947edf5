"""Kills, stops and freezes: every job still ends, with one commit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from trials import LEASE_S, Trial, code_of, until

from callboard_shared.ledger import verbs

POOLS = pytest.mark.parametrize("pool", ["prefork", "threads"])


@contextmanager
def frozen_ledger(trial: Trial) -> Iterator[None]:
    """Within the block the ledger is there, and does not answer."""
    server = int(trial.redis.info("server")["process_id"])
    os.kill(server, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server, signal.SIGCONT)


def test_the_jobs_of_a_killed_child_run_again_within_two_seconds(trial: Trial) -> None:
    trial.worker()
    [job] = trial.submit(trial.job("sleep", s=0.7))
    _, _, pid = trial.running(job)
    os.kill(int(pid), signal.SIGKILL)
    trial.running(job, 2, attempt=2)
    assert trial.result(job).attempt == 2
    assert "the worker was lost" in str(trial.events(job))


@POOLS
def test_the_jobs_of_a_killed_worker_run_again_a_lease_later(trial: Trial, pool: str) -> None:
    first = trial.worker(pool)
    trial.worker(pool)
    [job] = trial.submit(trial.job("sleep", s=1))
    _, _, pid = trial.running(job)
    victim = next(each for each in (first, *trial.workers) if owns(each.pid, int(pid)))
    victim.kill()
    trial.running(job, LEASE_S + 3, attempt=2)
    assert trial.result(job).status == "succeeded"


def owns(main: int, pid: int) -> bool:
    return pid == main or os.getpgid(pid) == main


def test_a_job_that_kills_its_worker_every_time_fails_and_does_not_block_the_queue(trial: Trial) -> None:
    trial.worker()
    [deadly, *others] = trial.submit(trial.job("die"), *(trial.job("give", i) for i in range(20)))
    assert {record.status for record in trial.ended(others, 15)} == {"succeeded"}
    record = trial.result(deadly, 20)
    assert (record.status, code_of(record), record.attempt) == ("failed", "worker_lost", 3)
    assert len(trial.starts(deadly)) == 3


def test_a_time_limit_that_the_handler_ignores_ends_its_process_and_hands_the_others_back(
    trial: Trial,
) -> None:
    trial.worker()
    orders = [
        trial.job("sleep", s=60, type="trial.batch", timeout_ms=500),
        trial.job("give", type="trial.batch"),
    ]
    [stuck, beside] = trial.submit(*orders)
    record = trial.result(stuck, 5)
    assert (record.status, code_of(record), record.attempt) == ("failed", "timeout", 1)
    record = trial.result(beside, 10)
    assert (record.status, record.attempt) == ("succeeded", 1)


def test_a_cancel_that_the_handler_ignores_ends_its_process_and_hands_the_others_back(trial: Trial) -> None:
    trial.worker()
    [stuck, beside] = trial.submit(
        trial.job("sleep", s=60, type="trial.batch"), trial.job("give", type="trial.batch")
    )
    trial.running(stuck)
    trial.ledger.run(verbs.cancel(stuck, "nlp"))
    assert trial.result(stuck, 4).status == "canceled"
    record = trial.result(beside, 10)
    assert (record.status, record.attempt) == ("succeeded", 1)


def test_a_coroutine_that_refuses_to_stop_ends_its_process_and_hands_the_others_back(trial: Trial) -> None:
    worker = trial.worker("threads", 8)
    [stubborn, beside] = trial.submit(trial.job("refuse to stop", s=60), trial.job("sleep", s=30))
    trial.running(stubborn)
    trial.running(beside)
    trial.ledger.run(verbs.cancel(stubborn, "nlp"))
    assert trial.result(stubborn, 4).status == "canceled"
    worker.process.wait(5)
    assert (trial.read(beside).status, trial.read(beside).attempt) == ("queued", 0)


@POOLS
def test_what_is_left_to_do_once_committed_is_done_then_and_not_by_an_attempt_that_fails(
    trial: Trial, pool: str
) -> None:
    trial.worker(pool)
    [job] = trial.submit(trial.job("tidy", 3))
    assert trial.result(job).attempt == 3
    until(lambda: trial.notes("tidied"), 5, "it was tidied up")
    trial.result(trial.submit(trial.job("give"))[0])
    assert trial.notes("tidied") == [f"{job} 3"]


@POOLS
def test_on_sigterm_a_running_job_finishes_within_the_grace(trial: Trial, pool: str) -> None:
    worker = trial.worker(pool)
    [job] = trial.submit(trial.job("sleep", s=2))
    trial.running(job)
    assert worker.stop(14) == 0
    record = trial.read(job)
    assert (record.status, record.attempt) == ("succeeded", 1)
    assert trial.nothing_is_held()


@POOLS
def test_on_sigterm_a_job_longer_than_the_grace_goes_back_without_using_an_attempt(
    trial: Trial, pool: str
) -> None:
    worker = trial.worker(pool)
    [job] = trial.submit(trial.job("sleep", s=60))
    trial.running(job)
    worker.stop(4 + 10)  # on a machine that has nothing else to do: two seconds after the grace
    record = trial.read(job)
    assert (record.status, record.attempt) == ("queued", 0)
    assert trial.nothing_is_held()
    trial.worker(pool)
    trial.running(job, 5)


def test_sigterm_for_every_process_of_the_tree_is_as_graceful(trial: Trial) -> None:
    worker = trial.worker()
    [job] = trial.submit(trial.job("sleep", s=1.5))
    trial.running(job)
    worker.signal_tree(signal.SIGTERM)
    assert worker.process.wait(14) == 0
    assert (trial.read(job).status, trial.read(job).attempt) == ("succeeded", 1)


@POOLS
def test_an_idle_worker_ends_soon_after_sigterm(trial: Trial, pool: str) -> None:
    worker = trial.worker(pool)
    trial.result(trial.submit(trial.job("give"))[0])
    assert worker.stop(12) == 0


def test_sigterm_ends_a_busy_worker_also_while_the_ledger_is_away(trial: Trial) -> None:
    worker = trial.worker()
    [job] = trial.submit(trial.job("sleep", s=60))
    trial.running(job)
    with frozen_ledger(trial):
        worker.signal_main(signal.SIGTERM)
        worker.process.wait(4 + 40)  # Celery waits for its broker several times over


@POOLS
def test_a_worker_frozen_past_its_lease_commits_too_late(trial: Trial, pool: str) -> None:
    frozen = trial.worker(pool)
    # One that would heed the runtime does not commit at all.
    [job] = trial.submit(trial.job("sleep" if pool == "prefork" else "refuse to stop", s=1))
    trial.running(job)
    frozen.signal_tree(signal.SIGSTOP)
    trial.worker(pool)
    trial.running(job, LEASE_S + 3, attempt=2)
    assert trial.result(job).attempt == 2
    refused = trial.stats().stale_commits
    frozen.signal_tree(signal.SIGCONT)
    until(lambda: trial.stats().stale_commits > refused, 5, "the late commit is refused and counted")
    assert (trial.read(job).status, trial.read(job).attempt) == ("succeeded", 2)
    assert trial.statuses(job).count("succeeded") == 1
    [again] = trial.submit(trial.job("give"))  # the frozen one is of use again
    assert trial.result(again).status == "succeeded"


@POOLS
def test_a_ledger_that_freezes_leaves_no_job_claimed_by_nobody(trial: Trial, pool: str) -> None:
    trial.worker(pool, CALLBOARD_LEASE_S=60)  # a claim that nobody knows of would hold for a minute
    trial.result(trial.submit(trial.job("give"))[0])
    jobs = trial.submit(*(trial.job("sleep", s=0.05) for _ in range(40)))
    with frozen_ledger(trial):
        time.sleep(5)  # the length of the outage
    records = trial.ended(jobs, 15)
    assert {(record.status, record.attempt) for record in records} == {("succeeded", 1)}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_is_gone_from_the_list_soon(trial: Trial, pool: str) -> None:
    stopped, killed = trial.worker(pool), trial.worker(pool)
    stopped.stop(12)
    assert not trial.online(stopped)
    killed.kill()
    until(lambda: not trial.online(killed), 10, "a killed worker is offline")


def test_a_broken_start_does_not_restart_the_child_for_ever(trial: Trial) -> None:
    worker = trial.worker(TRIAL_BROKEN_START="1")
    [job] = trial.submit(trial.job("give"))
    assert trial.result(job).status == "succeeded"
    assert len(trial.notes("loaded")) == 1
    assert "the model is not there" in worker.output()


def test_without_handlers_a_worker_says_so(trial: Trial) -> None:
    trial.start("callboard_vision", {"CALLBOARD_VISION_QUEUES": "courier"})

    def note() -> str:
        online = trial.ledger.run(verbs.workers("courier"))
        return online[0].note if online else ""

    assert "no handlers yet" in until(note, 30, "the worker is online")


def test_children_do_not_share_the_connections_of_their_parent(trial: Trial) -> None:
    """Two children and their parent talk to the ledger at once; answers never get mixed up."""
    worker = trial.worker(slots=2)
    jobs = trial.submit(*(trial.job("talk", 20, s=0.01) for _ in range(20)))
    assert {record.status for record in trial.ended(jobs, 20)} == {"succeeded"}
    assert "Protocol Error" not in worker.output() and "Traceback" not in worker.output()
