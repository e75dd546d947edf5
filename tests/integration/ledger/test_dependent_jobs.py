"""Jobs that start after others, in the same queue or another, also when a crash came in between."""

from __future__ import annotations

import orjson
import pytest
from builders import LEASE_MS, RUNNER, a_job, read, submit
from clocked import START_MS, ClockedLedger
from couriers import Courier

from callboard_shared.ledger import Ended, NewJob, settling, verbs
from callboard_shared.ledger.keys import of
from callboard_shared.states import JobStatus

S = JobStatus
QUEUES = ("nlp", "llm", "tts")


def see(ledger: ClockedLedger, queue: str = "nlp") -> NewJob:
    job = a_job(queue=queue)
    submit(ledger, job)
    return job


def say_after(ledger: ClockedLedger, *others: NewJob, registered: bool = True, **fields: int) -> NewJob:
    job = a_job(queue="llm", type="llm.chat", after=tuple(other.id for other in others), **fields)
    submit(ledger, job)
    for other in others if registered else ():
        assert ledger.run(settling.depend(other.id, other.queue, job.id, "llm")) == "pending"
    return job


def end(ledger: ClockedLedger, job: NewJob, outcome: str = "succeeded") -> None:
    limits = {job.type: (1, 0)}
    claim = verbs.claim(job.queue, RUNNER, limits=limits, max_jobs=1, lease_ms=LEASE_MS)
    assert [claimed.id for claimed in ledger.run(claim).jobs] == [job.id]
    ledger.run(verbs.finish(job.queue, RUNNER, [Ended(job.id, 1, outcome, error=b"{}")]))  # type: ignore[arg-type]


def sweep_all(ledger: ClockedLedger) -> set[str]:
    return Courier(ledger, QUEUES).sweep()


def test_a_blocked_job_starts_when_all_it_waits_for_in_other_queues_succeeded(ledger: ClockedLedger) -> None:
    first, second = see(ledger), see(ledger, "tts")
    job = say_after(ledger, first, second)
    assert (read(ledger, job.id, "llm").status, read(ledger, job.id, "llm").waits) == (
        S.BLOCKED,
        tuple(sorted([first.id, second.id])),
    )
    end(ledger, first)
    sweep_all(ledger)
    assert (read(ledger, job.id, "llm").status, read(ledger, job.id, "llm").waits) == (
        S.BLOCKED,
        (second.id,),
    )
    end(ledger, second)
    assert "llm" in sweep_all(ledger)
    assert read(ledger, job.id, "llm").status is S.QUEUED
    end(ledger, job)


@pytest.mark.parametrize("outcome", ["failed", "canceled"])
def test_a_job_whose_dependency_did_not_succeed_fails_and_says_so(
    ledger: ClockedLedger, outcome: str
) -> None:
    first = see(ledger)
    job = say_after(ledger, first)
    end(ledger, first, outcome)
    sweep_all(ledger)
    record = read(ledger, job.id, "llm")
    error = orjson.loads(record.error or b"{}")
    assert (record.status, error["code"]) == (S.FAILED, "dependency-failed")
    assert first.id in error["detail"] and outcome in error["detail"]


def test_a_failure_passes_on_along_a_chain(ledger: ClockedLedger) -> None:
    first = see(ledger)
    second = say_after(ledger, first)
    third = a_job(queue="tts", after=(second.id,))
    submit(ledger, third)
    ledger.run(settling.depend(second.id, "llm", third.id, "tts"))
    ledger.run(verbs.cancel(first.id, "nlp"))
    sweep_all(ledger)
    sweep_all(ledger)
    assert read(ledger, third.id, "tts").status is S.FAILED


def test_a_dependency_that_has_ended_already_answers_how(ledger: ClockedLedger) -> None:
    first = see(ledger)
    end(ledger, first)
    job = a_job(queue="llm", after=(first.id,))
    submit(ledger, job)
    assert ledger.run(settling.depend(first.id, "nlp", job.id, "llm")) == "succeeded"
    assert ledger.run(settling.settle(job.id, "llm", first.id, "succeeded"))[1] == "ready"
    assert ledger.run(settling.depend("job_nobody", "nlp", job.id, "llm")) == "missing"


def test_being_told_twice_changes_nothing(ledger: ClockedLedger) -> None:
    first = see(ledger)
    job = say_after(ledger, first)
    assert ledger.run(settling.settle(job.id, "llm", first.id, "succeeded"))[1] == "ready"
    assert ledger.run(settling.settle(job.id, "llm", first.id, "failed")) == (False, "ignored", b"")
    assert read(ledger, job.id, "llm").status is S.QUEUED


def test_a_blocked_job_with_a_later_time_waits_for_that_too(ledger: ClockedLedger) -> None:
    first = see(ledger)
    job = say_after(ledger, first, run_at_ms=START_MS + 60_000)
    end(ledger, first)
    sweep_all(ledger)
    assert read(ledger, job.id, "llm").status is S.SCHEDULED
    ledger.pass_time(60_000)
    sweep_all(ledger)
    assert read(ledger, job.id, "llm").status is S.QUEUED


def test_a_gateway_that_crashed_before_registering_is_made_good_by_the_sweep(ledger: ClockedLedger) -> None:
    first = see(ledger)
    job = say_after(ledger, first, registered=False)
    sweep_all(ledger)  # too early: the gateway may be about to do it itself
    assert ledger.redis.exists(of("nlp", "dependents", first.id)) == 0
    ledger.pass_time(5_000)
    sweep_all(ledger)
    end(ledger, first)
    sweep_all(ledger)
    assert read(ledger, job.id, "llm").status is S.QUEUED


def test_a_dependency_that_ended_while_nobody_was_registered_is_found_by_the_sweep(
    ledger: ClockedLedger,
) -> None:
    first = see(ledger)
    job = say_after(ledger, first, registered=False)
    end(ledger, first)
    ledger.pass_time(5_000)
    assert "llm" in sweep_all(ledger)
    assert read(ledger, job.id, "llm").status is S.QUEUED


def test_a_dependency_that_was_forgotten_fails_the_job(ledger: ClockedLedger) -> None:
    first = see(ledger)
    job = say_after(ledger, first, registered=False)
    end(ledger, first)
    ledger.run(verbs.delete(first.id, "nlp"))
    ledger.pass_time(5_000)
    sweep_all(ledger)
    assert "no longer exists" in orjson.loads(read(ledger, job.id, "llm").error or b"{}")["detail"]


def test_a_courier_that_crashed_between_telling_and_striking_tells_again_in_vain(
    ledger: ClockedLedger,
) -> None:
    first = see(ledger)
    job = say_after(ledger, first)
    end(ledger, first)
    (row,) = ledger.run(verbs.sweep("nlp")).settle
    ledger.run(settling.settle(job.id, "llm", first.id, "succeeded"))
    end(ledger, job)
    assert Courier(ledger, QUEUES).dependents.settle_row("nlp", row) == ("llm", False)
    assert read(ledger, job.id, "llm").status is S.SUCCEEDED
    assert ledger.run(verbs.sweep("nlp")).settle == []


def test_many_that_wait_long_do_not_keep_the_sweep_from_a_new_one(ledger: ClockedLedger) -> None:
    first = see(ledger)
    for _ in range(6):
        say_after(ledger, first)
    ledger.pass_time(5_000)
    seen: list[str] = []
    fresh = say_after(ledger, first, registered=False)
    ledger.pass_time(5_000)
    for _ in range(2):
        seen += ledger.run(verbs.sweep("llm", limit=4)).blocked
    assert fresh.id in seen and len(set(seen)) == 7
    assert ledger.run(verbs.sweep("llm", limit=4)).blocked == []  # until it is their turn again


def test_a_canceled_blocked_job_leaves_nothing_to_wait_with(ledger: ClockedLedger) -> None:
    first = see(ledger)
    job = say_after(ledger, first)
    ledger.run(verbs.cancel(job.id, "llm"))
    assert ledger.redis.exists(of("llm", "waits", job.id)) == 0
    end(ledger, first)
    sweep_all(ledger)
    assert read(ledger, job.id, "llm").status is S.CANCELED
