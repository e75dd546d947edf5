"""Submitting, waiting and being claimed: positions, priorities, fairness, batches, expiry, limits."""

from __future__ import annotations

import pytest
from builders import EVERYTHING, QUEUE, RUNNER, a_job, claim, claimed_ids, finish, read, submit, submitted
from clocked import START_MS, ClockedLedger

from callboard_shared.errors import LimitReached
from callboard_shared.ledger import Ended, Submitted, verbs
from callboard_shared.states import JobStatus


def test_a_submitted_job_is_queued_first_with_all_it_came_with(ledger: ClockedLedger) -> None:
    job = a_job(priority=3, timeout_ms=7_000, max_attempts=2, retention_ms=9_000, expires_in_ms=60_000)
    (result,) = submit(ledger, job)
    assert result == Submitted(job.id, JobStatus.QUEUED, START_MS, 1, None, 0, existed=False)
    record = read(ledger, job.id)
    assert (record.spec, record.owner, record.type, record.priority) == (job.spec, job.owner, job.type, 3)
    assert (record.timeout_ms, record.max_attempts, record.retention_ms) == (7_000, 2, 9_000)
    assert (record.created_ms, record.expires_ms, record.attempt) == (START_MS, START_MS + 60_000, 0)
    assert (record.started_ms, record.worker, record.output, record.error) == (None, None, None, None)


def test_submitting_an_id_again_changes_nothing_and_tells_its_state(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    claim(ledger)
    ledger.pass_time(50)
    (again,) = submit(ledger, job)
    assert isinstance(again, Submitted)
    assert (again.existed, again.status, again.created_ms) == (True, JobStatus.RUNNING, START_MS)
    assert claimed_ids(ledger) == []


def test_a_job_named_twice_in_one_call_is_one_job(ledger: ClockedLedger) -> None:
    job = a_job()
    first, second = submit(ledger, job, job)
    assert isinstance(first, Submitted) and isinstance(second, Submitted)
    assert (first.existed, second.existed) == (False, True)
    assert claimed_ids(ledger, max_jobs=5) == [job.id]


def test_a_job_scheduled_for_the_past_is_queued_at_once(ledger: ClockedLedger) -> None:
    assert read(ledger, submitted(ledger, run_at_ms=START_MS).id).status is JobStatus.QUEUED


def test_a_scheduled_job_starts_at_its_time_and_keeps_the_place_of_its_submission(
    ledger: ClockedLedger,
) -> None:
    early = submitted(ledger, run_at_ms=START_MS + 1_000)
    late = submitted(ledger)
    assert read(ledger, early.id).status is JobStatus.SCHEDULED
    ledger.pass_time(999)
    assert ledger.run(verbs.sweep(QUEUE)).due == 0
    ledger.pass_time(1)
    assert ledger.run(verbs.sweep(QUEUE)).due == 1
    assert claimed_ids(ledger, max_jobs=2) == [early.id, late.id]


def test_higher_priority_goes_first_and_within_one_the_order_of_submission(ledger: ClockedLedger) -> None:
    low, first, second, high = (submitted(ledger, priority=p) for p in (-10, 0, 0, 10))
    assert [read(ledger, job.id).position for job in (high, first, second, low)] == [1, 2, 3, 4]
    assert [claimed_ids(ledger)[0] for _ in range(4)] == [high.id, first.id, second.id, low.id]


def test_ten_thousand_jobs_of_one_key_do_not_starve_another_keys_one(ledger: ClockedLedger) -> None:
    for _ in range(10):
        submit(ledger, *(a_job(owner="key_greedy") for _ in range(1_000)))
    modest = submitted(ledger, owner="key_modest")
    assert read(ledger, modest.id).position == 2
    assert modest.id in claimed_ids(ledger, max_jobs=2)


def test_claims_go_round_the_owners_within_a_priority(ledger: ClockedLedger) -> None:
    owners = ["key_a"] * 4 + ["key_b"] * 2 + ["key_c"]
    by_id = {job.id: job.owner for job in (submitted(ledger, owner=owner) for owner in owners)}
    assert [by_id[claimed_ids(ledger)[0]][-1] for _ in owners] == list("abcabaa")


def test_a_batch_goes_round_the_owners_too(ledger: ClockedLedger) -> None:
    for owner in ["key_a"] * 5 + ["key_b"] * 5:
        submitted(ledger, owner=owner)
    assert [job.owner[-1] for job in claim(ledger, max_jobs=4).jobs] == list("abab")


def test_a_batch_holds_only_jobs_with_one_key_and_the_rest_keep_their_places(ledger: ClockedLedger) -> None:
    keys = ["nlp.embed|x", "nlp.embed|x", "nlp.embed|y", "nlp.embed|x"]
    jobs = [submitted(ledger, batch_key=key).id for key in keys]
    assert claimed_ids(ledger, max_jobs=10) == jobs[:2]
    assert claimed_ids(ledger, max_jobs=10) == jobs[2:3]
    assert claimed_ids(ledger, max_jobs=10) == jobs[3:]


def test_a_batch_keeps_to_the_number_and_the_weight_that_its_type_allows(ledger: ClockedLedger) -> None:
    jobs = [submitted(ledger, weight=weight).id for weight in (40, 40, 40, 500, 1)]
    limits = {"nlp.embed": (64, 100)}
    assert claimed_ids(ledger, max_jobs=10, limits=limits) == jobs[:2]
    assert claimed_ids(ledger, max_jobs=10, limits=limits) == jobs[2:3]
    assert claimed_ids(ledger, max_jobs=10, limits=limits) == jobs[3:4]  # one job may weigh more alone
    for _ in range(5):
        submitted(ledger)
    assert len(claimed_ids(ledger, max_jobs=10, limits={"nlp.embed": (3, 0)})) == 3


def test_a_batch_is_filled_up_from_lower_priorities(ledger: ClockedLedger) -> None:
    low, high = submitted(ledger, priority=0), submitted(ledger, priority=5)
    assert claimed_ids(ledger, max_jobs=10) == [high.id, low.id]


def test_positions_tell_the_order_in_which_claims_come(ledger: ClockedLedger) -> None:
    plan = [("key_a", 0), ("key_a", 0), ("key_b", 2), ("key_a", 2), ("key_b", 0), ("key_c", 0), ("key_b", 2)]
    ids = [submitted(ledger, owner=owner, priority=priority).id for owner, priority in plan]
    told = {job_id: read(ledger, job_id).position for job_id in ids}
    came = [claimed_ids(ledger)[0] for _ in ids]
    assert [told[job_id] for job_id in came] == list(range(1, 8))


def test_a_batch_of_submissions_is_told_each_its_own_position(ledger: ClockedLedger) -> None:
    jobs = [a_job(priority=p, owner=o) for p, o in [(0, "a"), (0, "a"), (9, "a"), (0, "b"), (0, "a")]]
    # each as of the moment it came in: what follows may still go before it
    assert [r.position for r in submit(ledger, *jobs) if isinstance(r, Submitted)] == [1, 2, 1, 3, 5]
    assert [read(ledger, job.id).position for job in jobs] == [2, 4, 1, 3, 5]


def test_the_eta_comes_from_measured_runs_and_the_slots_online(ledger: ClockedLedger) -> None:
    assert read(ledger, submitted(ledger).id).eta_ms is None
    ledger.run(verbs.beat(QUEUE, "nlp@host-1", 10_000, host="host", pid=1, slots=2, models=[]))
    (job,) = claim(ledger).jobs
    ledger.pass_time(200)
    finish(ledger, job.id, 1, "succeeded")
    waiting = [submitted(ledger) for _ in range(11)]
    # the worker was busy for 5 ms with a job that ran 200 ms: ten before it at 5 ms in two slots, then its own run
    assert read(ledger, waiting[-1].id).eta_ms == 10 * 5 // 2 + 200
    assert read(ledger, waiting[0].id).eta_ms == 200


def test_an_owner_at_its_limit_is_refused_and_others_are_not(ledger: ClockedLedger) -> None:
    results = submit(ledger, *(a_job() for _ in range(3)), max_waiting=2)
    assert [isinstance(result, LimitReached) for result in results] == [False, False, True]
    refused = results[2]
    assert isinstance(refused, LimitReached)
    assert (refused.problem_code, refused.retryable, refused.retry_after_s) == ("queue-full", True, 5)
    (other,) = submit(ledger, a_job(owner="key_bob"), max_waiting=2)
    assert isinstance(other, Submitted)
    claim(ledger)
    (now,) = submit(ledger, a_job(), max_waiting=2)
    assert isinstance(now, Submitted)


@pytest.mark.parametrize(("busy_ms", "most", "others", "expected_s"), [
    (30_000, 1, 0, 30.0),  # two starts of two slots: long jobs are not worth asking for every five seconds
    (30_000, 1, 2, 90.0),  # an owner takes turns with those that wait too
    (40, 1, 0, 1.0),
    (100_000_000, 1, 0, 3_600.0),
    (1_000, 400, 0, 2.0),  # a hundredth of those that may wait
])  # fmt: skip
def test_who_is_refused_is_told_when_some_will_have_started(
    ledger: ClockedLedger, busy_ms: int, most: int, others: int, expected_s: float
) -> None:
    ledger.run(verbs.beat(QUEUE, "nlp@host-1", 10_000, host="host", pid=1, slots=2, models=[]))
    ledger.run(verbs.sweep(QUEUE))
    submitted(ledger)
    (job,) = claim(ledger).jobs
    ledger.run(verbs.finish(QUEUE, RUNNER, [Ended(job.id, 1, "succeeded", b"1")], busy_ms))
    for number in range(others):
        submit(ledger, a_job(owner=f"key_{number}"))
    *_, refused = submit(ledger, *(a_job() for _ in range(most + 1)), max_waiting=most)
    assert isinstance(refused, LimitReached)
    assert refused.retry_after_s == expected_s


def test_scheduled_and_backing_off_jobs_count_as_waiting(ledger: ClockedLedger) -> None:
    submitted(ledger, run_at_ms=START_MS + 60_000)
    (refused,) = submit(ledger, a_job(), max_waiting=1)
    assert isinstance(refused, LimitReached)


def test_a_job_that_was_not_started_in_time_expires(ledger: ClockedLedger) -> None:
    job = submitted(ledger, expires_in_ms=1_000)
    ledger.pass_time(1_000)
    assert ledger.run(verbs.sweep(QUEUE)).expired == 1
    record = read(ledger, job.id)
    assert (record.status, record.finished_ms, record.attempt) == (JobStatus.EXPIRED, START_MS + 1_000, 0)


def test_a_claim_does_not_start_what_has_expired_though_no_sweep_came(ledger: ClockedLedger) -> None:
    job, next_one = submitted(ledger, expires_in_ms=1_000), submitted(ledger)
    ledger.pass_time(1_000)
    assert claimed_ids(ledger, max_jobs=1) == [next_one.id]
    assert read(ledger, job.id).status is JobStatus.EXPIRED


def test_a_scheduled_jobs_time_to_expire_begins_when_it_is_due(ledger: ClockedLedger) -> None:
    job = submitted(ledger, run_at_ms=START_MS + 5_000, expires_in_ms=1_000)
    ledger.pass_time(5_000)
    assert ledger.run(verbs.sweep(QUEUE)).expired == 0
    ledger.pass_time(1_000)
    assert ledger.run(verbs.sweep(QUEUE)).expired == 1
    assert read(ledger, job.id).status is JobStatus.EXPIRED


def test_a_job_that_was_started_no_longer_expires(ledger: ClockedLedger) -> None:
    job = submitted(ledger, expires_in_ms=1_000)
    claim(ledger)
    ledger.pass_time(1_000)
    ledger.run(verbs.lost(QUEUE, "nlp@host-1#11"))
    ledger.run(verbs.sweep(QUEUE))
    assert claimed_ids(ledger) == [job.id]


def test_nothing_is_claimed_from_a_paused_queue(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    assert ledger.run(verbs.pause(QUEUE)).paused
    assert (claimed_ids(ledger), read(ledger, job.id).paused) == ([], True)
    stats = ledger.run(verbs.resume(QUEUE))
    assert (stats.paused, stats.ready) == (False, 1)
    assert claimed_ids(ledger) == [job.id]


def test_the_oldest_wait_counts_from_when_a_job_was_due(ledger: ClockedLedger) -> None:
    submitted(ledger, run_at_ms=START_MS + 60_000)
    ledger.pass_time(60_000)
    ledger.run(verbs.sweep(QUEUE))
    ledger.pass_time(300)
    assert ledger.run(verbs.queue_stats(QUEUE)).oldest_wait_ms == 300


def test_the_first_request_takes_an_idempotency_key_and_later_ones_learn_of_it(ledger: ClockedLedger) -> None:
    first = ledger.run(verbs.begin_idempotent("key_ann", "order 17", "sha-1", "job_1"))
    again = ledger.run(verbs.begin_idempotent("key_ann", "order 17", "sha-2", "job_2"))
    someone_else = ledger.run(verbs.begin_idempotent("key_bob", "order 17", "sha-2", "job_2"))
    assert (first, again, someone_else) == (None, ("sha-1", "job_1"), None)
    assert 86_390 < ledger.redis.ttl("cb:{idem:key_ann}:order 17") <= 86_400


@pytest.mark.parametrize("most", [1, 7, 64])
def test_any_number_of_claims_takes_each_job_once(ledger: ClockedLedger, most: int) -> None:
    ids = {submitted(ledger, owner=f"key_{n % 5}", priority=n % 3).id for n in range(100)}
    taken: list[str] = []
    while batch := claimed_ids(ledger, max_jobs=most, limits=EVERYTHING):
        taken += batch
    assert sorted(taken) == sorted(ids)
