"""The courier as a process: it sweeps, in one place at a time, and echoes."""

from __future__ import annotations

import signal
import time
from dataclasses import replace

import orjson
import pytest
from trials import Running, Trial, until

from callboard_shared.errors import LedgerFull
from callboard_shared.ids import new_id
from callboard_shared.ledger import NewJob, verbs
from callboard_shared.ledger.keys import SWEEP_LOCK


def courier(trial: Trial) -> Running:
    running = trial.start("callboard_courier", {})
    until(lambda: trial.online(running, "system"), 30, "the courier is online")
    return running


def echo(value: object, **fields: object) -> NewJob:
    spec = orjson.dumps({"input": {"value": value, **fields}, "metadata": {}})
    return NewJob(new_id("job"), "system.echo", "system", "key_a", spec)


def test_an_echo_gives_back_any_json(trial: Trial) -> None:
    courier(trial)
    values = [None, 0, "é\u0000", [1, {"a": [None]}], {"b": 1e308}, "x" * 100_000]
    jobs = trial.submit(*(echo(value) for value in values))
    records = trial.ended(jobs, 10, "system")
    assert [orjson.loads(record.output or b"")["value"] for record in records] == values


def test_five_hundred_echoes_all_end_and_count(trial: Trial) -> None:
    courier(trial)
    jobs = trial.submit(*(echo(i) for i in range(500)))
    records = trial.ended(jobs, 20, "system")
    assert {(record.status, record.attempt) for record in records} == {("succeeded", 1)}
    day = int(time.time() // 86_400)
    figures = trial.ledger.run(verbs.usage("system", "key_a", day))[0].figures
    assert (figures["jobs"], figures["succeeded"]) == (500, 500)


def test_the_sweep_runs_in_one_place_and_moves_when_that_one_dies(trial: Trial) -> None:
    first = courier(trial)
    holder = until(lambda: trial.redis.get(SWEEP_LOCK), 5, "somebody sweeps")
    courier(trial)
    names = set()

    def three_seconds_on(since: float = time.monotonic()) -> bool:
        names.add(trial.redis.get(SWEEP_LOCK))
        return time.monotonic() - since > 3

    until(three_seconds_on, 5, "the lock is watched", every_s=0.05)
    assert names == {holder}
    first.kill()
    until(lambda: trial.redis.get(SWEEP_LOCK) not in (None, holder), 5, "the other one sweeps")


def test_what_was_scheduled_starts_when_it_is_due(trial: Trial) -> None:
    courier(trial)
    seconds, microseconds = trial.redis.time()
    job = echo(1)
    object.__setattr__(job, "run_at_ms", seconds * 1000 + microseconds // 1000 + 1_500)
    [scheduled] = trial.submit(job)
    record = trial.ended([scheduled], 6, "system")[0]
    assert record.started_ms is not None and job.run_at_ms is not None
    assert 0 <= record.started_ms - job.run_at_ms < 2_500


def test_thousands_that_are_due_at_once_are_made_ready_in_one_pass(trial: Trial) -> None:
    seconds, _ = trial.redis.time()
    jobs = []
    for i in range(2_000):
        job = echo(i)
        object.__setattr__(job, "run_at_ms", seconds * 1000 + 1_000)
        jobs.append(job)
    trial.submit(*jobs)
    until(lambda: trial.redis.time()[0] > seconds + 1, 5, "they are due")
    trial._sweep.pass_over()
    assert (trial.stats("system").scheduled, trial.stats("system").ready) == (0, 2_000)


def test_a_courier_that_is_stopped_is_gone_at_once_and_leaves_nothing_held(trial: Trial) -> None:
    running = courier(trial)
    [job] = trial.submit(echo(1, sleep_ms=1000))
    until(lambda: trial.read(job, "system").status == "running", 5, "it runs")
    running.signal_main(signal.SIGTERM)
    running.process.wait(12)
    assert trial.read(job, "system").status == "succeeded"
    assert not trial.online(running, "system")
    assert trial.nothing_is_held("system")


def test_accepted_jobs_end_while_the_ledger_has_no_memory_for_new_ones(trial: Trial) -> None:
    courier(trial)
    jobs = trial.submit(*(echo(i, sleep_ms=200) for i in range(400)))
    until(lambda: trial.stats("system").running > 0, 5, "they run")
    trial.redis.config_set("maxmemory", 1_000_000)
    with pytest.raises(LedgerFull):
        trial.submit(echo("one more"))
    assert {record.status for record in trial.ended(jobs, 15, "system")} == {"succeeded"}


def test_a_nearly_full_ledger_refuses_new_jobs_so_that_an_idle_worker_can_still_run_the_accepted(
    trial: Trial,
) -> None:
    courier(trial)
    (seconds, micros) = trial.redis.time()
    later = replace(echo("later"), run_at_ms=seconds * 1000 + micros // 1000 + 3_000)
    accepted = trial.submit(later)
    trial.redis.config_set("maxmemory", int(trial.redis.info("memory")["used_memory"] * 1.06))

    def refused() -> bool:
        try:
            trial.submit(echo("one more"))
        except LedgerFull:
            return True
        return False

    until(refused, 5, "the sweep has seen it", every_s=0.2)
    assert trial.ended(accepted, 15, "system")[0].status == "succeeded"
    trial.redis.config_set("maxmemory", 0)
    until(lambda: not refused(), 5, "there is room again", every_s=0.2)
