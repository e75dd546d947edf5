"""A key with limits of its own: what it may have running, and waiting."""

from __future__ import annotations

from builders import OTHER, QUEUE, a_job, claim, claimed_ids, finish, read, submit, submitted
from clocked import ClockedLedger

from callboard_shared.errors import LimitReached
from callboard_shared.ledger import verbs
from callboard_shared.states import JobStatus


def test_above_the_cap_jobs_wait_and_are_not_refused(ledger: ClockedLedger) -> None:
    ledger.run(verbs.cap(QUEUE, "key_ann", running=2))
    jobs = [submitted(ledger) for _ in range(4)]
    assert claimed_ids(ledger, max_jobs=10) == [job.id for job in jobs[:2]]
    assert claim(ledger, OTHER, max_jobs=10).jobs == []
    finish(ledger, jobs[0].id, 1, "succeeded")
    assert claimed_ids(ledger, max_jobs=10) == [jobs[2].id]


def test_others_are_served_past_a_key_at_its_cap(ledger: ClockedLedger) -> None:
    ledger.run(verbs.cap(QUEUE, "key_ann", running=1))
    ann = [submitted(ledger, priority=5) for _ in range(3)]
    bob = [submitted(ledger, owner="key_bob") for _ in range(2)]
    assert claimed_ids(ledger, max_jobs=10) == [ann[0].id, bob[0].id, bob[1].id]


def test_more_than_a_hundred_keys_at_their_cap_hold_up_nobody(ledger: ClockedLedger) -> None:
    for number in range(150):
        owner = f"key_{number:03}"
        ledger.run(verbs.cap(QUEUE, owner, running=1))
        submit(ledger, a_job(owner=owner), a_job(owner=owner))
    while claim(ledger, max_jobs=10).jobs:
        pass
    late = submitted(ledger, owner="key_late")
    assert claimed_ids(ledger) == [late.id]


def test_a_worker_that_finds_only_capped_work_listens_and_is_not_rung_for_ever(ledger: ClockedLedger) -> None:
    ledger.run(verbs.cap(QUEUE, "key_ann", running=1))
    for _ in range(2):
        submitted(ledger)
    claim(ledger)
    idle = claim(ledger, OTHER, max_jobs=10, listen_ms=1000)
    assert (idle.jobs, idle.ready, idle.ring) == ([], 0, False)


def test_every_way_in_which_a_job_stops_running_gives_its_place_back(ledger: ClockedLedger) -> None:
    ledger.run(verbs.cap(QUEUE, "key_ann", running=1))
    for outcome in ("succeeded", "failed", "retry", "release"):
        job = submitted(ledger, max_attempts=2)
        (claimed,) = claim(ledger).jobs
        assert finish(ledger, job.id, claimed.attempt, outcome, delay_ms=600_000) == "committed"
        if read(ledger, job.id).status in (JobStatus.QUEUED, JobStatus.SCHEDULED):
            ledger.run(verbs.cancel(job.id, QUEUE))
    lost = submitted(ledger)
    claim(ledger)
    ledger.pass_time(20_000)
    ledger.run(verbs.sweep(QUEUE))
    assert claimed_ids(ledger) == [lost.id], "the place of a worker that died is free again"


def test_a_cap_on_what_waits_holds_in_place_of_the_usual_one(ledger: ClockedLedger) -> None:
    ledger.run(verbs.cap(QUEUE, "key_ann", waiting=1))
    results = submit(ledger, a_job(), a_job(), max_waiting=100)
    assert isinstance(results[1], LimitReached) and "already has 1 jobs waiting" in results[1].detail
    ledger.run(verbs.cap(QUEUE, "key_ann", waiting=3))
    assert [isinstance(one, LimitReached) for one in submit(ledger, *(a_job() for _ in range(3)), max_waiting=1)] == [
        False, False, True,
    ]  # fmt: skip
    ledger.run(verbs.cap(QUEUE, "key_ann"))
    assert isinstance(submit(ledger, a_job(), max_waiting=3)[0], LimitReached)
