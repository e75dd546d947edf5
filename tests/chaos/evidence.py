"""What a stack and its receiver have to tell of a run, for the checker; by the ledger's public verbs and over HTTP."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from findings import Change, Findings, History, JobHistory, Post, judge
from submitting import Accepted
from table import TABLE, Row
from yard import Yard, until

from callboard_shared.budgets import today, used_of
from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import Event, JobRecord, verbs
from callboard_shared.states import JobStatus

PAGE = 500


def ended(yard: Yard, ids: Collection[str], within_s: float) -> None:
    """Wait until all have ended."""
    left = list(ids)

    def all_have() -> bool:
        left[:] = [record.id for record in records(yard, left) if not record.status.is_terminal]
        return not left

    until(all_have, within_s, f"all of {len(ids)} jobs have ended; open at last: {left[:3]}", 0.25)


def records(yard: Yard, ids: Sequence[str]) -> list[JobRecord]:
    """Of those that are there, whatever their queue."""
    pages = [ids[at : at + PAGE] for at in range(0, len(ids), PAGE)]
    found = [yard.ledger.run(verbs.read(queue, page)) for page in pages for queue in QUEUES]
    return [record for page in found for record in page if record is not None]


def history(yard: Yard, accepted: Accepted) -> History:
    """Everything that the ledger and the receiver have; of all keys, so that a job that nobody asked for is seen."""
    owners = [key.id for key in yard.callboard.keys.list()]
    ids = {
        (queue, job)
        for queue in QUEUES
        for owner in owners
        for job, _ in yard.ledger.run(verbs.owned(queue, owner, None, None, 1_000_000))
    }
    jobs: dict[str, JobHistory] = {}
    for queue in QUEUES:
        own = sorted(job for name, job in ids if name == queue)
        jobs |= _histories(yard, queue, own)
    return History(accepted.ids, jobs, accepted.hooked, posts(yard), _committed(yard, owners))


def _committed(yard: Yard, owners: Sequence[str]) -> int:
    """Ends, as the step that ends a job counts them; of today and yesterday, since a run may begin before midnight."""
    rows = [
        row
        for queue in QUEUES
        for owner in owners
        for day in (today() - 1, today())
        for row in yard.ledger.run(verbs.usage(queue, owner, day))
    ]
    return used_of(rows).get("jobs", 0)


def histories(yard: Yard, ids: Sequence[str]) -> dict[str, JobHistory]:
    """Of those that are there, whatever their queue."""
    found: dict[str, JobHistory] = {}
    for queue in QUEUES:
        left = [job for job in ids if job not in found]
        found |= _histories(yard, queue, left) if left else {}
    return found


def _histories(yard: Yard, queue: str, ids: Sequence[str]) -> dict[str, JobHistory]:
    found: dict[str, JobHistory] = {}
    for at in range(0, len(ids), PAGE):
        page = ids[at : at + PAGE]
        # in one round trip, in this order: a job that ends meanwhile has its end among the events
        kept, *told = yard.ledger.run_many(
            [verbs.read(queue, page), *(verbs.events(job, queue, limit=10_000) for job in page)]
        )
        for record, events in zip(kept, told, strict=True):
            if record is not None:
                found[record.id] = JobHistory(record.status.value, _changes(events))
    return found


def _changes(events: Sequence[Event]) -> list[Change]:
    told = [(event.id, orjson.loads(event.data)) for event in events if event.kind == "status"]
    return [
        Change(data["status"], data["attempt"], int(event_id.partition("-")[0])) for event_id, data in told
    ]


def posts(yard: Yard) -> list[Post]:
    """What the receiver took on any of its paths."""
    return [Post(one.json["data"]["id"], one.id, one.json["type"]) for one in list(yard.receiver.received)]


def settled(yard: Yard, accepted: Accepted, within_s: float) -> tuple[History, Findings]:
    """Once all jobs have ended and all webhooks are through: what happened, and what was wrong with it."""
    ended(yard, accepted.ids, within_s)
    until(
        lambda: accepted.hooked <= {post.job for post in posts(yard)},
        within_s,
        "every webhook has arrived",
        0.25,
    )
    seen = history(yard, accepted)
    return seen, judge(seen)


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A job that ran in a process when that was killed. at_ms: of this machine's clock, which is the ledger's."""

    job: str
    attempt: int
    at_ms: int


def interrupted_by_kill(yard: Yard, name: str) -> list[Interrupted]:
    """Kill a member's tree; the jobs that it was running, as the ledger still has them."""
    pid = yard.kill(name)
    at_ms = now_ms()
    return [
        Interrupted(record.id, record.attempt, at_ms)
        for queue in QUEUES
        for worker in yard.ledger.run(verbs.workers(queue))
        if worker.pid == pid
        for record in yard.ledger.run(verbs.read(queue, worker.running))
        if record is not None and record.status is JobStatus.RUNNING
    ]


def waits_s(seen: History, interrupted: Sequence[Interrupted]) -> list[float]:
    """Seconds from each kill until the next attempt ran; of jobs that had ended just then, nothing."""
    again = [(one.at_ms, seen.jobs[one.job].runs_again_ms(one.attempt)) for one in interrupted]
    return [(ran_ms - at_ms) / 1000 for at_ms, ran_ms in again if ran_ms is not None]


def enter(
    yard: Yard, fault: str, faults: int, accepted: Accepted, *, within_s: float = 60,
    interrupted: Sequence[Interrupted] = (), waits: Sequence[float] | None = None, also: str = "",
) -> tuple[History, list[float]]:  # fmt: skip
    """Await the ends, judge what happened, enter it in the table, and fail if a promise was broken."""
    seen, found = settled(yard, accepted, within_s)
    again = waits_s(seen, interrupted) if waits is None else list(waits)
    TABLE.append(Row(fault, len(accepted.ids), faults, len(found.lost), len(found.doubled), again, also))
    assert found.faults == {}
    return seen, again


def told(yard: Yard, job: str, kind: str, queue: str = "nlp") -> list[dict[str, Any]]:
    """What a job's events of a kind say."""
    events = yard.ledger.run(verbs.events(job, queue, limit=10_000))
    return [orjson.loads(event.data) for event in events if event.kind == kind]


def running(yard: Yard, job: str, attempt: int = 1, queue: str = "nlp", within_s: float = 20) -> None:
    """Wait until this attempt runs."""
    change = {"status": "running", "attempt": attempt}
    until(lambda: change in told(yard, job, "status", queue), within_s, f"attempt {attempt} of {job} runs")


def holder(yard: Yard, job: str, kind: str, queue: str = "nlp") -> str:
    """The member of a kind that runs a job."""
    by_pid = {yard.pid(name): name for name in yard.names(kind)}
    rows = yard.ledger.run(verbs.workers(queue))
    return next(by_pid[row.pid] for row in rows if job in row.running and row.pid in by_pid)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def ran_at_ms(yard: Yard, job: str, attempt: int = 1) -> int:
    """When an attempt or a later one began, by the ledger's clock."""
    at_ms = histories(yard, [job])[job].runs_again_ms(attempt - 1)
    assert at_ms is not None
    return at_ms
