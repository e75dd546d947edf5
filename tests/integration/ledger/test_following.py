"""Many readers follow jobs, and all jobs of a key, with one step each; what is not kept any more is said to be missing."""

from __future__ import annotations

import pytest
from builders import OWNER, QUEUE, RUNNER, a_job, claim, finish, submit, submitted
from clocked import ClockedLedger

from callboard_shared.ledger import verbs
from callboard_shared.ledger.following import FROM_NOW, NOTHING, PAGE, Entry, Fed, feed, follow
from callboard_shared.ledger.keys import of
from callboard_shared.states import JobStatus

WINDOW_MS = 300_000


def fed(ledger: ClockedLedger, after: str = FROM_NOW, owner: str = OWNER, gateway: str = "gate1") -> Fed:
    (answer,) = ledger.run(feed(QUEUE, gateway, [(owner, after)], WINDOW_MS))
    return answer


def told(entries: list[Entry]) -> list[tuple[str, str, str]]:
    return [(entry.kind, entry.job_id, entry.data.decode()) for entry in entries]


def test_each_reader_is_told_of_its_own_job_from_its_own_place(ledger: ClockedLedger) -> None:
    runs, waits = submitted(ledger), submitted(ledger)
    claim(ledger)
    places = [(runs.id, "0-0"), (waits.id, "0-0"), ("job_none", "0-0"), (runs.id, NOTHING)]
    first, second, none, status = ledger.run(follow(QUEUE, "gate1", places))
    assert first is not None and second is not None and status is not None
    assert (first.status, [one.data for one in first.events]) == (
        JobStatus.RUNNING, [b'{"status":"running","attempt":1}'],
    )  # fmt: skip
    assert (second.status, second.events, none) == (JobStatus.QUEUED, [], None)
    assert (status.status, status.events) == (JobStatus.RUNNING, [])
    finish(ledger, runs.id, 1, "succeeded")
    (rest,) = ledger.run(follow(QUEUE, "gate1", [(runs.id, first.events[-1].id)]))
    assert rest is not None
    assert [one.data for one in rest.events] == [b'{"status":"succeeded","attempt":1}']


def test_to_follow_is_to_watch(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    for gateway in ("gate1", "gate2", "gate1"):
        ledger.run(follow(QUEUE, gateway, [(job.id, "0-0")]))
    assert ledger.redis.hget(of(QUEUE, "job", job.id), "watch") == b"gate1 gate2 "


def test_a_feed_tells_what_happens_to_all_jobs_of_its_owner(ledger: ClockedLedger) -> None:
    place = fed(ledger).last
    job, other = submitted(ledger), submitted(ledger, owner="key_bob")
    claim(ledger)
    ledger.run(
        verbs.report(QUEUE, RUNNER, job.id, 1, [("progress", b'{"fraction":0.5}')], b'{"fraction":0.5}')
    )
    ledger.run(verbs.report(QUEUE, RUNNER, job.id, 1, [("log", b"{}"), ("delta", b"{}")]))
    finish(ledger, job.id, 1, "succeeded")
    assert told(fed(ledger, place).entries) == [
        ("status", job.id, '{"status":"queued","attempt":0}'),
        ("status", job.id, '{"status":"running","attempt":1}'),
        ("progress", job.id, '{"fraction":0.5}'),
        ("status", job.id, '{"status":"succeeded","attempt":1}'),
        ("done", job.id, '{"status":"succeeded"}'),
    ]
    assert not ledger.redis.exists(of(QUEUE, "feed", other.owner))


def test_every_way_to_change_tells_the_feed(ledger: ClockedLedger) -> None:
    place = fed(ledger).last
    scheduled = submitted(ledger, run_at_ms=ledger.now_ms + 5000)
    ledger.pass_time(5000)
    ledger.run(verbs.sweep(QUEUE))
    claim(ledger)
    finish(ledger, scheduled.id, 1, "retry", error=b"{}", delay_ms=1000)
    ledger.pass_time(1000)
    ledger.run(verbs.sweep(QUEUE))
    claim(ledger)
    ledger.pass_time(16_000)
    ledger.run(verbs.sweep(QUEUE))
    claim(ledger)
    ledger.run(verbs.cancel(scheduled.id, QUEUE))
    finish(ledger, scheduled.id, 3, "canceled")
    states = [data.split('"')[3] for kind, _, data in told(fed(ledger, place).entries) if kind == "status"]
    assert states == [
        "scheduled", "queued", "running", "scheduled", "queued", "running", "queued", "running", "canceling",
        "canceled",
    ]  # fmt: skip


def test_a_feed_that_nobody_reads_is_not_kept(ledger: ClockedLedger) -> None:
    submitted(ledger)
    assert ledger.redis.keys("*feed*") == []
    fed(ledger)
    ledger.pass_time(WINDOW_MS - 1)
    before = ledger.redis.xlen(of(QUEUE, "feed", OWNER))
    submitted(ledger)
    assert ledger.redis.xlen(of(QUEUE, "feed", OWNER)) == before + 1
    ledger.pass_time(1)
    submitted(ledger)
    assert ledger.redis.xlen(of(QUEUE, "feed", OWNER)) == before + 1
    assert not ledger.redis.exists(of(QUEUE, "feeds"))


def test_to_read_a_feed_keeps_it(ledger: ClockedLedger) -> None:
    place = fed(ledger).last
    for _ in range(10):
        ledger.pass_time(WINDOW_MS - 10_000)
        submitted(ledger)
        answer = fed(ledger, place)
        assert (answer.gap, len(answer.entries)) == (False, 1)
        place = answer.entries[-1].id


def test_who_was_away_too_long_is_told_of_the_gap(ledger: ClockedLedger) -> None:
    place = fed(ledger).last
    ledger.pass_time(WINDOW_MS + 1)
    submitted(ledger)
    late = fed(ledger, place)
    assert (late.gap, late.entries) == (True, [])
    job = submitted(ledger)
    assert [one.job_id for one in fed(ledger, late.last).entries] == [job.id]


def test_who_was_away_while_another_read_on_misses_nothing(ledger: ClockedLedger) -> None:
    place = fed(ledger).last
    for _ in range(4):
        ledger.pass_time(WINDOW_MS - 10_000)
        fed(ledger, gateway="gate2")
        submitted(ledger)
    assert (fed(ledger, place).gap, len(fed(ledger, place).entries)) == (False, 4)


def test_who_falls_behind_what_is_kept_is_told_of_the_gap(ledger: ClockedLedger) -> None:
    place = fed(ledger).last
    jobs = [a_job() for _ in range(10)]
    submit(ledger, *jobs)
    kept = of(QUEUE, "feed", OWNER)
    ledger.redis.xtrim(kept, maxlen=5, approximate=False)
    assert fed(ledger, place).gap
    oldest = ledger.redis.xrange(kept, count=1)[0][0].decode()
    assert [one.job_id for one in fed(ledger, oldest).entries] == [job.id for job in jobs[6:]]


def test_a_feed_is_read_a_page_at_a_time(ledger: ClockedLedger) -> None:
    place = fed(ledger).last
    jobs = [a_job() for _ in range(PAGE + 5)]
    submit(ledger, *jobs)
    first = fed(ledger, place).entries
    rest = fed(ledger, first[-1].id).entries
    assert [one.job_id for one in first + rest] == [job.id for job in jobs]
    assert len(first) == PAGE


def test_a_feed_is_bounded(ledger: ClockedLedger) -> None:
    fed(ledger)
    for _ in range(120):
        submit(ledger, *(a_job() for _ in range(100)))
    assert ledger.redis.xlen(of(QUEUE, "feed", OWNER)) <= 10_100


@pytest.mark.parametrize("gateways", [["gate1"], ["gate1", "gate2"]])
def test_the_gateways_that_read_a_feed_are_told_once_a_step(
    ledger: ClockedLedger, gateways: list[str]
) -> None:
    with ledger.redis.pubsub() as hears:
        hears.subscribe("cb:news:gate1", "cb:news:gate2")
        for gateway in gateways:
            fed(ledger, gateway=gateway)
        submit(ledger, *(a_job() for _ in range(20)))
        ledger.redis.publish("cb:news:gate1", "over")
        messages = []
        while not messages or messages[-1][1] != b"over":
            message = hears.get_message(ignore_subscribe_messages=True, timeout=5)
            if message:
                messages.append((message["channel"].decode(), message["data"]))
    assert messages[:-1] == [(f"cb:news:{gateway}", f"feed {OWNER}".encode()) for gateway in gateways]
