"""Submissions that come together go to the ledger together, and each hears what became of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from callboard_gateway.submitter import MOST_PER_CALL, Submitter
from callboard_shared.errors import LedgerFull, LedgerUnavailable, LimitReached
from callboard_shared.ledger import NewJob, SubmitReply, Submitted, verbs
from callboard_shared.states import JobStatus


def job(name: str, queue: str = "system") -> NewJob:
    return NewJob(id=name, type="t", queue=queue, owner="key_x", spec=b"{}")


class FakeLedger:
    """Answers submissions, one round trip at a time, when the test lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verbs, "submit", lambda queue, jobs, *limits, **more: (queue, list(jobs)))
        self.trips: list[list[tuple[str, list[str]]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.special: dict[str, Any] = {}

    async def run(self, call: Any) -> Any:
        (reply,) = await self.run_many([call])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def run_many(self, calls: Any) -> list[Any]:
        self.trips.append([(queue, [one.id for one in jobs]) for queue, jobs in calls])
        await self.gate.wait()
        if self.error:
            raise self.error
        return [
            self.special.get(queue) or SubmitReply([self._result(one) for one in jobs], True)
            for queue, jobs in calls
        ]

    def _result(self, one: NewJob) -> Any:
        return self.special.get(one.id) or Submitted(one.id, JobStatus.QUEUED, 0, 1, None, 0, False)


class FakeBell:
    def __init__(self) -> None:
        self.rung: list[str] = []

    def ring_soon(self, queue: str) -> None:
        self.rung.append(queue)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> FakeLedger:
    return FakeLedger(monkeypatch)


@pytest.fixture
def bell() -> FakeBell:
    return FakeBell()


@pytest.fixture
def submitter(ledger: FakeLedger, bell: FakeBell) -> Submitter:
    return Submitter(ledger, bell, max_waiting=10)  # type: ignore[arg-type]


async def gathered(submitter: Submitter, *names: str) -> list[asyncio.Task[Submitted]]:
    tasks = [asyncio.create_task(submitter.submit(job(name))) for name in names]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_what_is_submitted_in_one_moment_is_one_round_trip(
    ledger: FakeLedger, submitter: Submitter
) -> None:
    results = await asyncio.gather(*(submitter.submit(job(str(n))) for n in range(32)))
    assert [one.id for one in results] == [str(n) for n in range(32)]
    assert len(ledger.trips) == 1


async def test_what_comes_meanwhile_gathers_for_the_next_round_trip(
    ledger: FakeLedger, submitter: Submitter
) -> None:
    ledger.gate.clear()
    tasks = await gathered(submitter, "a")
    tasks += await gathered(submitter, "b", "c")
    ledger.gate.set()
    await asyncio.gather(*tasks)
    assert ledger.trips == [[("system", ["a"])], [("system", ["b", "c"])]]


async def test_each_queue_has_its_call_and_its_bell(
    ledger: FakeLedger, bell: FakeBell, submitter: Submitter
) -> None:
    await asyncio.gather(
        submitter.submit(job("a", "nlp")), submitter.submit(job("b")), submitter.submit(job("c", "nlp"))
    )
    assert ledger.trips == [[("nlp", ["a", "c"]), ("system", ["b"])]]
    assert sorted(bell.rung) == ["nlp", "system"]


async def test_a_limit_is_told_to_the_one_it_meets(ledger: FakeLedger, submitter: Submitter) -> None:
    ledger.special["b"] = LimitReached("full", code="too-many-waiting", retry_after_s=5)
    a, b, c = await asyncio.gather(*(submitter.submit(job(n)) for n in "abc"), return_exceptions=True)
    assert isinstance(a, Submitted)
    assert isinstance(c, Submitted)
    assert isinstance(b, LimitReached)
    assert (b.problem_code, b.retry_after_s) == ("too-many-waiting", 5)


async def test_a_ledger_that_is_away_is_told_to_all_who_gathered(
    ledger: FakeLedger, submitter: Submitter
) -> None:
    ledger.gate.clear()
    ledger.error = LedgerUnavailable("away", retry_after_s=2)
    tasks = await gathered(submitter, "a")
    tasks += await gathered(submitter, "b")
    ledger.gate.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in errors] == [LedgerUnavailable] * 2
    assert len(ledger.trips) == 1, "those who gathered do not wait for a second failure"


async def test_it_goes_on_when_the_ledger_is_back(ledger: FakeLedger, submitter: Submitter) -> None:
    ledger.error = LedgerUnavailable("away")
    with pytest.raises(LedgerUnavailable):
        await submitter.submit(job("a"))
    ledger.error = None
    assert (await submitter.submit(job("b"))).id == "b"


async def test_a_full_queue_does_not_stop_another(ledger: FakeLedger, submitter: Submitter) -> None:
    ledger.special["nlp"] = LedgerFull("full")
    a, b = await asyncio.gather(
        submitter.submit(job("a", "nlp")), submitter.submit(job("b")), return_exceptions=True
    )
    assert isinstance(a, LedgerFull)
    assert isinstance(b, Submitted)


async def test_a_bug_leaves_nobody_waiting(ledger: FakeLedger, submitter: Submitter) -> None:
    ledger.error = ZeroDivisionError()
    a, b = await asyncio.gather(
        submitter.submit(job("a")), submitter.submit(job("b")), return_exceptions=True
    )
    assert isinstance(a, ZeroDivisionError)
    assert isinstance(b, ZeroDivisionError)
    ledger.error = None
    assert (await submitter.submit(job("c"))).id == "c"


async def test_a_request_that_was_given_up_harms_nobody(ledger: FakeLedger, submitter: Submitter) -> None:
    ledger.gate.clear()
    tasks = await gathered(submitter, "a", "b")
    tasks[0].cancel()
    ledger.gate.set()
    assert (await tasks[1]).id == "b"


async def test_a_large_batch_is_one_round_trip_in_several_calls(
    ledger: FakeLedger, submitter: Submitter
) -> None:
    results = await submitter.submit_many([job(str(n)) for n in range(1000)])
    assert [one.id for one in results if isinstance(one, Submitted)] == [str(n) for n in range(1000)]
    assert len(ledger.trips) == 1
    assert [len(ids) for _, ids in ledger.trips[0]] == [MOST_PER_CALL] * 4
