"""Short ways to say what the ledger's tests say often."""

from __future__ import annotations

from typing import Any

from callboard_shared.errors import LimitReached
from callboard_shared.ids import new_id
from callboard_shared.ledger import Claim, Ended, JobRecord, Ledger, NewJob, Submitted, verbs

QUEUE, RUNNER, OTHER, OWNER = "nlp", "nlp@host-1#11", "nlp@host-1#12", "key_ann"
LEASE_MS = 15_000
EVERYTHING = {"nlp.embed": (64, 0), "nlp.similarity": (64, 0)}


def a_job(**fields: Any) -> NewJob:
    standard: dict[str, Any] = {
        "id": new_id("job"), "type": "nlp.embed", "queue": QUEUE, "owner": OWNER, "spec": b'{"input":{"texts":["a"]}}',
    }  # fmt: skip
    return NewJob(**(standard | fields))


def submit(ledger: Ledger, *jobs: NewJob, max_waiting: int = 0) -> list[Submitted | LimitReached]:
    return ledger.run(verbs.submit(jobs[0].queue, jobs, max_waiting)).results


def submitted(ledger: Ledger, **fields: Any) -> NewJob:
    job = a_job(**fields)
    submit(ledger, job)
    return job


def claim(ledger: Ledger, runner: str = RUNNER, max_jobs: int = 1, **more: Any) -> Claim:
    options: dict[str, Any] = {"limits": EVERYTHING, "lease_ms": LEASE_MS, "queue": QUEUE}
    return ledger.run(verbs.claim(runner=runner, max_jobs=max_jobs, **(options | more)))


def claimed_ids(ledger: Ledger, runner: str = RUNNER, max_jobs: int = 1, **more: Any) -> list[str]:
    return [job.id for job in claim(ledger, runner, max_jobs, **more).jobs]


def finish(ledger: Ledger, job_id: str, attempt: int, outcome: Any, runner: str = RUNNER, **more: Any) -> str:
    ended = Ended(job_id, attempt, outcome, **more)
    return ledger.run(verbs.finish(QUEUE, runner, [ended], busy_ms=5)).results[0]


def read(ledger: Ledger, job_id: str, queue: str = QUEUE) -> JobRecord:
    (record,) = ledger.run(verbs.read(queue, [job_id]))
    assert record is not None
    return record


def statuses_told(ledger: Ledger, job_id: str) -> list[str]:
    told = ledger.run(verbs.events(job_id, QUEUE))
    return [event.data.decode().split('"')[3] for event in told if event.kind == "status"]
