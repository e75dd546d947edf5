"""Claims, leases, attempts, ends: what a runner may still say, and what happens when it falls silent."""

from __future__ import annotations

import orjson
from builders import (
    LEASE_MS,
    OTHER,
    OWNER,
    QUEUE,
    RUNNER,
    claim,
    claimed_ids,
    finish,
    read,
    statuses_told,
    submitted,
)
from clocked import START_MS, ClockedLedger

from callboard_shared.ledger import Ended, verbs
from callboard_shared.ledger.keys import of
from callboard_shared.ledger.outbox import subscribe, take_rows
from callboard_shared.states import JobStatus

S = JobStatus


def test_a_claim_hands_out_the_job_an_attempt_and_a_lease(ledger: ClockedLedger) -> None:
    job = submitted(ledger, timeout_ms=1_234)
    ledger.pass_time(40)
    (claimed,) = claim(ledger).jobs
    assert (claimed.id, claimed.type, claimed.owner, claimed.spec) == (job.id, job.type, OWNER, job.spec)
    assert (claimed.attempt, claimed.max_attempts, claimed.timeout_ms) == (1, 3, 1_234)
    record = read(ledger, job.id)
    assert (record.status, record.attempt, record.worker, record.started_ms) == (
        S.RUNNING,
        1,
        RUNNER,
        START_MS + 40,
    )
    assert int(ledger.redis.zscore(of(QUEUE, "lease"), job.id) or 0) == START_MS + 40 + LEASE_MS


def test_a_finished_job_has_its_output_usage_and_files_at_once(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    claim(ledger)
    ledger.pass_time(30)
    files = ("file_1", "file_2")
    assert (
        finish(ledger, job.id, 1, "succeeded", output=b'{"x":1}', usage=b'{"tokens":4}', files=files)
        == "committed"
    )
    record = read(ledger, job.id)
    assert (record.status, record.output, record.usage, record.files) == (
        S.SUCCEEDED, b'{"x":1}', b'{"tokens":4}', files,
    )  # fmt: skip
    assert record.finished_ms == START_MS + 30
    assert statuses_told(ledger, job.id) == ["running", "succeeded"]


def test_a_claim_with_an_old_attempt_commits_nothing(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    claim(ledger)
    ledger.run(verbs.lost(QUEUE, RUNNER))
    claim(ledger)
    assert finish(ledger, job.id, 1, "succeeded", output=b'"old"') == "stale"
    assert (read(ledger, job.id).status, read(ledger, job.id).output) == (S.RUNNING, None)
    assert finish(ledger, job.id, 2, "succeeded", output=b'"new"') == "committed"
    assert read(ledger, job.id).output == b'"new"'
    assert ledger.run(verbs.queue_stats(QUEUE)).stale_commits == 1


def test_another_runner_commits_nothing_though_it_guesses_the_attempt(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    claim(ledger)
    assert finish(ledger, job.id, 1, "succeeded", runner=OTHER) == "stale"
    assert ledger.run(verbs.report(QUEUE, OTHER, job.id, 1, [("log", b"{}")], b"{}")) == "lost"
    assert ledger.run(verbs.renew(QUEUE, OTHER, [(job.id, 1)], LEASE_MS)) == ["lost"]


def test_a_commit_repeated_because_its_answer_was_lost_is_committed_once(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    claim(ledger)
    assert finish(ledger, job.id, 1, "succeeded", output=b'"a"') == "committed"
    assert finish(ledger, job.id, 1, "succeeded", output=b'"b"') == "committed"
    assert read(ledger, job.id).output == b'"a"'
    (row,) = ledger.run(verbs.usage(QUEUE, OWNER, START_MS // 86_400_000))
    assert row.figures["succeeded"] == 1


def test_a_commit_after_the_last_attempt_lapsed_is_refused_and_counted(ledger: ClockedLedger) -> None:
    job = submitted(ledger, max_attempts=1)
    claim(ledger)
    ledger.pass_time(LEASE_MS)
    ledger.run(verbs.sweep(QUEUE))
    assert finish(ledger, job.id, 1, "succeeded", output=b'"late"') == "stale"
    record = read(ledger, job.id)
    assert (record.status, record.output) == (S.FAILED, None)
    assert ledger.run(verbs.queue_stats(QUEUE)).stale_commits == 1


def test_a_job_whose_runner_fell_silent_is_ready_again_when_the_lease_ends(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    claim(ledger)
    ledger.pass_time(LEASE_MS - 1)
    assert ledger.run(verbs.sweep(QUEUE)).lapsed == 0
    ledger.pass_time(1)
    assert ledger.run(verbs.sweep(QUEUE)).lapsed == 1
    (again,) = claim(ledger, OTHER).jobs
    assert (again.id, again.attempt) == (job.id, 2)
    assert [event.kind for event in ledger.run(verbs.events(job.id, QUEUE))] == [
        "status",
        "log",
        "status",
        "status",
    ]


def test_a_job_five_times_longer_than_its_lease_runs_once(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    claim(ledger)
    for _ in range(15):
        ledger.pass_time(LEASE_MS // 3)
        assert ledger.run(verbs.renew(QUEUE, RUNNER, [(job.id, 1)], LEASE_MS)) == ["held"]
        assert ledger.run(verbs.sweep(QUEUE)).lapsed == 0
    assert finish(ledger, job.id, 1, "succeeded") == "committed"


def test_a_lost_runner_loses_all_its_jobs_and_no_others(ledger: ClockedLedger) -> None:
    mine = [submitted(ledger).id for _ in range(3)]
    claim(ledger, max_jobs=3)
    theirs = submitted(ledger).id
    claim(ledger, OTHER)
    assert ledger.run(verbs.lost(QUEUE, RUNNER))[1] == 3
    assert [read(ledger, job_id).status for job_id in [*mine, theirs]] == [S.QUEUED] * 3 + [S.RUNNING]
    assert ledger.run(verbs.lost(QUEUE, RUNNER)) == (False, 0)


def test_a_job_that_kills_its_worker_every_time_fails_with_worker_lost(ledger: ClockedLedger) -> None:
    job = submitted(ledger, max_attempts=3)
    for attempt in (1, 2, 3):
        assert [c.attempt for c in claim(ledger).jobs] == [attempt]
        ledger.run(verbs.lost(QUEUE, RUNNER))
    assert claim(ledger).jobs == []
    record = read(ledger, job.id)
    error = orjson.loads(record.error or b"{}")
    assert (record.status, error["code"], error["retryable"], record.attempt) == (
        S.FAILED,
        "worker_lost",
        True,
        3,
    )


def test_a_retry_waits_for_its_delay_and_keeps_the_error_until_it_succeeds(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    claim(ledger)
    finish(ledger, job.id, 1, "retry", error=b'{"detail":"busy"}', delay_ms=2_000)
    record = read(ledger, job.id)
    assert (record.status, record.scheduled_ms, record.error) == (
        S.SCHEDULED, START_MS + 2_000, b'{"detail":"busy"}',
    )  # fmt: skip
    assert (record.worker, record.progress) == (None, None)
    ledger.pass_time(1_999)
    assert ledger.run(verbs.sweep(QUEUE)).due == 0
    ledger.pass_time(1)
    ledger.run(verbs.sweep(QUEUE))
    assert [c.attempt for c in claim(ledger).jobs] == [2]
    finish(ledger, job.id, 2, "succeeded", output=b"1")
    assert read(ledger, job.id).error is None


def test_a_retry_after_the_last_attempt_fails_with_its_error(ledger: ClockedLedger) -> None:
    job = submitted(ledger, max_attempts=2)
    for attempt in (1, 2):
        claim(ledger)
        finish(ledger, job.id, attempt, "retry", error=b'{"detail":"busy"}')
        ledger.run(verbs.sweep(QUEUE))
    record = read(ledger, job.id)
    assert (record.status, record.error, record.attempt) == (S.FAILED, b'{"detail":"busy"}', 2)


def test_a_released_job_gets_its_attempt_and_its_place_back(ledger: ClockedLedger) -> None:
    first, second = submitted(ledger, max_attempts=1), submitted(ledger)
    claim(ledger)
    assert finish(ledger, first.id, 1, "release") == "committed"
    record = read(ledger, first.id)
    assert (record.status, record.attempt, record.position, record.worker) == (S.QUEUED, 0, 1, None)
    assert read(ledger, second.id).position == 2
    (again,) = claim(ledger, OTHER).jobs
    assert (again.id, again.attempt) == (first.id, 1)
    assert finish(ledger, first.id, 1, "succeeded") == "stale"  # the runner that handed it back


def test_one_bad_job_of_a_batch_fails_alone(ledger: ClockedLedger) -> None:
    good, bad = submitted(ledger), submitted(ledger)
    claim(ledger, max_jobs=2)
    ends = [Ended(good.id, 1, "succeeded", output=b"1"), Ended(bad.id, 1, "failed", error=b'{"code":"x"}')]
    assert ledger.run(verbs.finish(QUEUE, RUNNER, ends)).results == ["committed", "committed"]
    assert (read(ledger, good.id).status, read(ledger, bad.id).status) == (S.SUCCEEDED, S.FAILED)


def test_a_canceled_waiting_job_ends_at_once(ledger: ClockedLedger) -> None:
    jobs = [
        submitted(ledger),
        submitted(ledger, run_at_ms=START_MS + 9_000),
        submitted(ledger, after=("job_other",)),
    ]
    for job in jobs:
        assert ledger.run(verbs.cancel(job.id, QUEUE)) == "ended"
        assert read(ledger, job.id).status is S.CANCELED
        assert ledger.run(verbs.cancel(job.id, QUEUE)) == "already-ended"
    assert claim(ledger).jobs == []
    assert ledger.run(verbs.cancel("job_nobody", QUEUE)) == "missing"


def test_canceling_a_running_job_tells_its_runner_and_waits_for_it(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    claim(ledger)
    assert ledger.run(verbs.cancel(job.id, QUEUE)) == "canceling"
    assert ledger.run(verbs.cancel(job.id, QUEUE)) == "canceling"
    assert ledger.redis.lrange(of(QUEUE, "control", RUNNER), 0, -1) == [job.id.encode()]
    assert ledger.run(verbs.renew(QUEUE, RUNNER, [(job.id, 1)], LEASE_MS)) == ["canceling"]
    assert ledger.run(verbs.report(QUEUE, RUNNER, job.id, 1, [])) == "canceling"
    finish(ledger, job.id, 1, "canceled")
    assert statuses_told(ledger, job.id) == ["running", "canceling", "canceled"]


def test_a_canceled_job_never_succeeds(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    claim(ledger)
    ledger.run(verbs.cancel(job.id, QUEUE))
    finish(ledger, job.id, 1, "canceled")
    finish(ledger, job.id, 1, "succeeded", output=b'"late"')
    assert (read(ledger, job.id).status, read(ledger, job.id).output) == (S.CANCELED, None)


def test_a_failure_retry_or_release_of_a_job_being_canceled_ends_it_as_canceled(
    ledger: ClockedLedger,
) -> None:
    for outcome in ("failed", "retry", "release"):
        job = submitted(ledger)
        claim(ledger)
        ledger.run(verbs.cancel(job.id, QUEUE))
        assert finish(ledger, job.id, 1, outcome, error=b"{}") == "committed"
        assert read(ledger, job.id).status is S.CANCELED


def test_a_job_being_canceled_whose_runner_dies_is_canceled_not_run_again(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    claim(ledger)
    ledger.run(verbs.cancel(job.id, QUEUE))
    ledger.run(verbs.lost(QUEUE, RUNNER))
    assert read(ledger, job.id).status is S.CANCELED
    assert claimed_ids(ledger) == []


def test_progress_and_events_are_kept_in_order_and_can_be_read_from_any_point(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    claim(ledger)
    said = [("progress", b'{"fraction":0.5}'), ("log", b'{"message":"half"}'), ("delta", b'{"text":"so"}')]
    assert ledger.run(verbs.report(QUEUE, RUNNER, job.id, 1, said, progress=b'{"fraction":0.5}')) == "held"
    assert read(ledger, job.id).progress == b'{"fraction":0.5}'
    told = ledger.run(verbs.events(job.id, QUEUE))
    assert [(event.kind, event.data) for event in told[1:]] == said
    assert ledger.run(verbs.events(job.id, QUEUE, after=told[1].id)) == told[2:]
    assert ledger.run(verbs.events(job.id, QUEUE, limit=2)) == told[:2]


def test_a_new_attempt_begins_without_the_progress_of_the_last(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    claim(ledger)
    ledger.run(verbs.report(QUEUE, RUNNER, job.id, 1, [], progress=b'{"fraction":0.9}'))
    ledger.run(verbs.lost(QUEUE, RUNNER))
    assert read(ledger, job.id).progress is None


def test_the_end_of_a_job_leaves_a_row_in_the_outbox_for_the_statuses_asked_for(
    ledger: ClockedLedger,
) -> None:
    wanted, unwanted = (
        submitted(ledger, hook="running,failed https://a/succeeded"),
        submitted(ledger, hook="succeeded https://a/failed"),
    )
    claim(ledger, max_jobs=2)
    finish(ledger, wanted.id, 1, "failed", error=b"{}")
    finish(ledger, unwanted.id, 1, "failed", error=b"{}")
    rows = [fields for _, fields in ledger.redis.xrange(of(QUEUE, "outbox"))]
    assert [(row[b"event"], row[b"subject"].decode(), row[b"url"]) for row in rows] == [
        (b"job.running", wanted.id, b"https://a/succeeded"),
        (b"job.failed", wanted.id, b"https://a/succeeded"),
    ]


def test_the_outbox_tells_what_the_key_s_endpoints_ask_for(ledger: ClockedLedger) -> None:
    ledger.run(subscribe(QUEUE, OWNER, 2, "job.failed,job.running"))
    assert ledger.run(subscribe(QUEUE, OWNER, 1, "")) == 0  # an older change that comes late
    mine, others = submitted(ledger), submitted(ledger, owner="key_bob")
    claim(ledger, max_jobs=2)
    for job in (mine, others):
        finish(ledger, job.id, 1, "failed", error=b"{}")
    rows = ledger.run(take_rows(QUEUE, "courier-1"))
    assert [(row.event, row.subject, row.owner, row.run, row.url) for row in rows] == [
        ("job.running", mine.id, OWNER, 1, ""), ("job.failed", mine.id, OWNER, 1, ""),
    ]  # fmt: skip


def test_usage_counts_each_type_and_outcome_of_an_owner_by_day(ledger: ClockedLedger) -> None:
    for outcome in ("succeeded", "succeeded", "failed"):
        job = submitted(ledger)
        claim(ledger)
        ledger.pass_time(10)
        finish(ledger, job.id, 1, outcome, error=b"{}", tokens=7, characters=2)
    ledger.run(verbs.cancel(submitted(ledger, type="nlp.similarity").id, QUEUE))
    day = START_MS // 86_400_000
    rows = {row.type: row for row in ledger.run(verbs.usage(QUEUE, OWNER, day))}
    assert rows["nlp.embed"].day == "2027-01-15"
    assert rows["nlp.embed"].figures == {
        "jobs": 3, "succeeded": 2, "failed": 1, "run_ms": 30, "tokens": 21, "characters": 6,
    }  # fmt: skip
    assert rows["nlp.similarity"].figures == {"jobs": 1, "canceled": 1}
    assert ledger.run(verbs.usage(QUEUE, "key_bob", day)) == []


def test_workers_are_listed_with_what_they_run_until_they_fall_silent(ledger: ClockedLedger) -> None:
    worker = RUNNER.split("#")[0]
    ledger.run(verbs.beat(QUEUE, worker, 10_000, host="h", pid=11, slots=2, models=["m"], note="loading"))
    job = submitted(ledger)
    claim(ledger)
    (info,) = ledger.run(verbs.workers(QUEUE))
    assert (info.id, info.host, info.pid, info.slots, info.models) == (worker, "h", 11, 2, ["m"])
    assert (info.running, info.note, info.started_ms) == ([job.id], "loading", START_MS)
    assert read(ledger, job.id).workers == 1
    ledger.pass_time(10_001)
    assert ledger.run(verbs.workers(QUEUE)) == []
    assert ledger.run(verbs.queue_stats(QUEUE)).workers == 0


def test_a_worker_that_says_goodbye_is_gone_at_once(ledger: ClockedLedger) -> None:
    ledger.run(verbs.beat(QUEUE, "w", 10_000, host="h", pid=1, slots=1, models=[]))
    ledger.run(verbs.gone(QUEUE, "w"))
    assert ledger.run(verbs.workers(QUEUE)) == []


def test_the_rate_follows_what_is_finished(ledger: ClockedLedger) -> None:
    ledger.run(verbs.sweep(QUEUE))
    for _ in range(30):
        for _ in range(4):
            job = submitted(ledger)
            claim(ledger)
            finish(ledger, job.id, 1, "succeeded")
        ledger.pass_time(1_000)
        ledger.run(verbs.sweep(QUEUE))
    assert 3.8 < ledger.run(verbs.queue_stats(QUEUE)).rate_per_s <= 4
    for _ in range(90):
        ledger.pass_time(1_000)
        ledger.run(verbs.sweep(QUEUE))
    assert ledger.run(verbs.queue_stats(QUEUE)).rate_per_s == 0
