"""One worker at a time is killed, stopped, poisoned, restarted, or has a wrong clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from clocks import shifted
from evidence import (
    ended,
    enter,
    histories,
    holder,
    interrupted_by_kill,
    now_ms,
    ran_at_ms,
    records,
    running,
    told,
)
from scale import LEASE_S, dice, pick
from submitting import Accepted, errand, load, mixed
from table import quantile
from yard import COURIERS_ONLY, Plan, Yard, until

from callboard_shared.ledger import verbs

NOTICED_S = 0.5
"""A parent looks after its children this often."""


def stale(yard: Yard) -> int:
    return yard.ledger.run(verbs.queue_stats("nlp")).stale_commits


def test_the_job_of_a_killed_child_runs_again_at_once(yard_of: Callable[[Plan], Yard]) -> None:
    yard, accepted, waits, chance = yard_of(Plan(errands=1)), Accepted(), [], dice("child")
    for _ in range(pick(3, 20)):
        job = accepted.submit(yard.callboard, errand("sleep 1"))
        pid = int(until(lambda job=job: told(yard, job, "log"), 20, "it runs")[0]["message"])
        time.sleep(chance.uniform(0, 0.7))  # the moment is what is random
        at_ms = now_ms()
        os.kill(pid, signal.SIGKILL)
        running(yard, job, 2)
        waits.append((ran_at_ms(yard, job, 2) - at_ms) / 1000)
        ended(yard, [job], 20)
    enter(
        yard,
        "SIGKILL of the child",
        len(waits),
        accepted,
        waits=waits,
        also="runs again ≤ 2 s after it is noticed",
    )
    assert max(waits) <= 2 + NOTICED_S


def test_a_job_whose_bell_died_with_an_idle_worker_runs_elsewhere(yard_of: Callable[[Plan], Yard]) -> None:
    yard, accepted, waits = yard_of(Plan(errands=2)), Accepted(), []
    for turn in range(pick(3, 10)):
        victim = f"errand-{turn % 2 + 1}"
        until(lambda: not yard.ledger.run(verbs.runners("nlp")), 20, "everybody is idle")
        yard.signal(victim, signal.SIGSTOP)
        job = accepted.submit(yard.callboard, errand("nothing"))
        at_ms = now_ms()
        yard.kill(victim)
        running(yard, job)
        waits.append((ran_at_ms(yard, job) - at_ms) / 1000)
        ended(yard, [job], 20)
        yard.await_online([victim])
    enter(yard, "idle worker stopped, job submitted, worker killed", len(waits), accepted, waits=waits,
          also=f"runs ≤ lease + 3 s = {LEASE_S + 3:g} s")  # fmt: skip
    assert max(waits) <= LEASE_S + 3


def test_a_worker_that_was_stopped_past_its_lease_commits_too_late(yard_of: Callable[[Plan], Yard]) -> None:
    yard, accepted, waits = yard_of(Plan(errands=2)), Accepted(), []
    before = stale(yard)
    for _ in range(pick(2, 5)):
        refused = stale(yard)
        job = accepted.submit(yard.callboard, errand("sleep 1"))
        running(yard, job)
        frozen = holder(yard, job, "errand")
        at_ms = now_ms()
        yard.signal(frozen, signal.SIGSTOP)
        running(yard, job, 2)
        waits.append((ran_at_ms(yard, job, 2) - at_ms) / 1000)
        ended(yard, [job], 20)
        yard.signal(frozen, signal.SIGCONT)
        until(lambda refused=refused: stale(yard) > refused, 20, "the late commit is refused and counted")
        yard.await_online([frozen])
    seen, _ = enter(yard, "busy worker stopped past its lease, then goes on", len(waits), accepted, waits=waits,
                    also=f"late commits refused and counted: {stale(yard) - before} of {len(waits)}")  # fmt: skip
    assert {job.ends[0].attempt for job in seen.jobs.values()} == {2}


def test_a_job_that_kills_its_worker_every_time_fails_and_holds_nobody_up(
    yard_of: Callable[[Plan], Yard],
) -> None:
    yard, accepted = yard_of(Plan(errands=2)), Accepted()
    apart_s, poisoned = pick((6, 1), (10, 5))

    def others(poison: int) -> float:
        """The 95th percentile in ms of what others wait, while so many jobs are poison."""
        with load(yard.callboard, lambda _: errand("sleep 0.02"), 10) as quiet:
            for number in range(poisoned):
                if number < poison:
                    deadly.append(accepted.submit(yard.callboard, errand("die")))
                time.sleep(apart_s)  # the load goes on
            ended(yard, deadly, 60)
        ended(yard, quiet.ids, 60)
        accepted.ids += quiet.ids
        kept = records(yard, quiet.ids)
        return quantile([float((job.finished_ms or 0) - job.created_ms) for job in kept], 0.95)

    deadly: list[str] = []
    usual, beside = others(0), others(poisoned)
    seen, _ = enter(yard, "a job that kills its worker every time", 3 * poisoned, accepted,
                    also=f"others' p95 {beside:.0f} ms, without it {usual:.0f} ms")  # fmt: skip
    for record in records(yard, deadly):
        assert (record.status.value, record.attempt) == ("failed", 3)
        assert b'"code":"worker_lost"' in (record.error or b"")
    assert {seen.jobs[job].status for job in accepted.ids if job not in deadly} == {"succeeded"}
    # Half a second of grace for a machine that does other things as well.
    assert beside <= max(2 * usual, pick(500, 0))


def test_a_rolling_restart_uses_up_no_attempt(yard_of: Callable[[Plan], Yard]) -> None:
    yard = yard_of(Plan(f"{COURIERS_ONLY},courier=2", errands=2))
    members = pick(["errand-1", "courier"], [*yard.names("errand"), *yard.names("courier")] * 4)
    with load(yard.callboard, mixed(dice("rolling"), yard.receiver.url()), pick(40, 60)) as accepted:
        for member in members:
            old = yard.signal(member, signal.SIGTERM, tree=False)
            until(
                lambda member=member, old=old: yard.pid(member) not in (old, None),
                30,
                f"{member} is restarted",
            )
            yard.await_online([member])
    seen, _ = enter(yard, "SIGTERM, rolling restart under load", len(members), accepted,
                    also="no attempt used up")  # fmt: skip
    assert {change.attempt for job in seen.jobs.values() for change in job.ends} == {1}


def test_a_job_five_times_longer_than_its_lease_runs_once(yard_of: Callable[[Plan], Yard]) -> None:
    yard, accepted, long_s = yard_of(Plan(errands=1)), Accepted(), 5 * LEASE_S
    accepted.submit(yard.callboard, errand(f"sleep {long_s}"))
    accepted.submit(
        yard.callboard, {"type": "system.echo", "input": {"value": 1, "sleep_ms": int(long_s * 1000)}}
    )
    seen, _ = enter(yard, "a job five times longer than its lease", 0, accepted, also="each started once")
    for job in seen.jobs.values():
        assert [change.status for change in job.changes].count("running") == 1


def test_workers_whose_clocks_are_wrong_change_nothing(
    yard_of: Callable[[Plan], Yard], tmp_path: Path
) -> None:
    ahead, behind = shifted(300, tmp_path), shifted(-300, tmp_path)
    probe = [
        sys.executable,
        "-c",
        "import time, datetime; print(time.time(), datetime.datetime.now().timestamp())",
    ]
    shown = subprocess.run(
        probe, env={**os.environ, **ahead}, capture_output=True, text=True, check=True
    ).stdout
    assert all(250 < float(each) - time.time() <= 300 for each in shown.split())
    own = {"errand-1": ahead, "errand-2": behind, "courier": ahead, "courier-2": behind}
    yard = yard_of(Plan(f"{COURIERS_ONLY},courier=2", errands=2, own=own))
    soon = datetime.now(UTC) + timedelta(seconds=4)
    with load(
        yard.callboard, mixed(dice("clocks"), yard.receiver.url()), 40, least=pick(200, 1_000)
    ) as accepted:
        later = [accepted.submit(yard.callboard, errand("nothing", run_at=soon)) for _ in range(5)]
        interrupted = []
        for name in ("errand-1", "courier-2"):
            interrupted += interrupted_by_kill(yard, name)
            yard.await_online([name])
    ended(yard, later, 60)
    late_s = [(ran_at_ms(yard, job) / 1000) - soon.timestamp() for job in later]
    _, waits = enter(yard, "clocks of all workers 5 min off, two of them killed", 4, accepted, interrupted=interrupted,
                     also=f"scheduled jobs start {max(late_s):.1f} s after their time")  # fmt: skip
    assert min(late_s) >= 0 and max(late_s) <= 3
    assert not waits or max(waits) <= LEASE_S + 3
    assert {job.status for job in histories(yard, accepted.ids).values()} == {"succeeded"}
