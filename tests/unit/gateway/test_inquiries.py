"""What many ask at once goes to the ledger together, and each hears the answer to its own question."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from callboard_gateway import inquiries as module
from callboard_gateway.inquiries import MOST_AT_ONCE, MOST_PER_CALL, Inquiries
from callboard_shared.errors import LedgerUnavailable
from callboard_shared.ledger import verbs


class FakeLedger:
    """Answers each question with the question, one round trip at a time, when the test lets it."""

    def __init__(self) -> None:
        self.trips: list[list[tuple[str, str, list[Any]]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.special: dict[str, Exception] = {}

    async def run_many(self, calls: Any) -> list[Any]:
        self.trips.append(list(calls))
        await self.gate.wait()
        if self.error:
            raise self.error
        return [
            self.special.get(queue, [(kind, queue, one) for one in about]) for kind, queue, about in calls
        ]


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> FakeLedger:
    monkeypatch.setattr(module, "follow", lambda queue, gateway, places: ("follow", queue, list(places)))
    monkeypatch.setattr(module, "feed", lambda queue, gateway, places, ms: ("feed", queue, list(places)))
    monkeypatch.setattr(verbs, "read", lambda queue, ids: ("read", queue, list(ids)))
    return FakeLedger()


@pytest.fixture
def inquiries(ledger: FakeLedger) -> Inquiries:
    return Inquiries(ledger, "gateway", 1000)  # type: ignore[arg-type]


async def test_questions_that_come_together_are_one_round_trip(
    inquiries: Inquiries, ledger: FakeLedger
) -> None:
    answers = await asyncio.gather(
        *(inquiries.events("nlp", f"job_{n}", "0-0") for n in range(120)),
        inquiries.record("llm", "job_x"),
        inquiries.feed("nlp", "key_1", "1-0"),
    )
    assert answers == [
        *(("follow", "nlp", (f"job_{n}", "0-0")) for n in range(120)),
        ("read", "llm", "job_x"),
        ("feed", "nlp", ("key_1", "1-0")),
    ]
    assert len(ledger.trips) == 1
    assert all(len(about) <= MOST_PER_CALL for _, _, about in ledger.trips[0])


async def test_what_is_asked_during_a_round_trip_waits_for_the_next(
    inquiries: Inquiries, ledger: FakeLedger
) -> None:
    ledger.gate.clear()
    first = asyncio.create_task(inquiries.record("nlp", "job_1"))  # type: ignore[var-annotated]
    while not ledger.trips:
        await asyncio.sleep(0)
    later = [asyncio.create_task(inquiries.record("nlp", f"job_{n}")) for n in range(2 * MOST_AT_ONCE)]
    await asyncio.sleep(0)
    ledger.gate.set()
    await asyncio.gather(first, *later)
    assert [sum(len(about) for _, _, about in trip) for trip in ledger.trips] == [
        1,
        MOST_AT_ONCE,
        MOST_AT_ONCE,
    ]


async def test_the_same_question_is_asked_once(inquiries: Inquiries, ledger: FakeLedger) -> None:
    answers = await asyncio.gather(*(inquiries.events("nlp", "job_1", "5-0") for _ in range(100)))
    assert answers == [("follow", "nlp", ("job_1", "5-0"))] * 100
    assert ledger.trips == [[("follow", "nlp", [("job_1", "5-0")])]]


async def test_a_ledger_that_is_away_is_away_for_all_that_asked_and_for_nobody_after(
    inquiries: Inquiries, ledger: FakeLedger
) -> None:
    ledger.error = LedgerUnavailable("away", retry_after_s=2)
    found = await asyncio.gather(
        *(inquiries.record("nlp", f"job_{n}") for n in range(3)), return_exceptions=True
    )
    assert [(type(one), str(one)) for one in found] == [(LedgerUnavailable, "away")] * 3
    assert len({id(one) for one in found}) == 3, "each has its own, with its own traceback"
    ledger.error = None
    assert await inquiries.record("nlp", "job_1") == ("read", "nlp", "job_1")


async def test_a_call_that_fails_spoils_no_other(inquiries: Inquiries, ledger: FakeLedger) -> None:
    ledger.special["llm"] = LedgerUnavailable("away")
    good, bad = await asyncio.gather(
        inquiries.record("nlp", "job_1"), inquiries.record("llm", "job_2"), return_exceptions=True
    )
    assert good == ("read", "nlp", "job_1")
    assert isinstance(bad, LedgerUnavailable)


async def test_who_goes_away_before_the_answer_spoils_no_other(
    inquiries: Inquiries, ledger: FakeLedger
) -> None:
    ledger.gate.clear()
    gone = asyncio.create_task(inquiries.record("nlp", "job_1"))  # type: ignore[var-annotated]
    stays = asyncio.create_task(inquiries.record("nlp", "job_1"))  # type: ignore[var-annotated]
    await asyncio.sleep(0)
    gone.cancel()
    ledger.gate.set()
    assert await stays == ("read", "nlp", "job_1")
    assert gone.cancelled()
