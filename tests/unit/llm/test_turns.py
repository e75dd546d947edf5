"""The wait for a turn at a provider."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from callboard_llm import turns
from callboard_llm.turns import Turns


class Patient:
    """Somebody who waits; ``within``: how deep in waiting."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.within = 0

    def delayed(self, why: str) -> None:
        self.told.append(why)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        self.within += 1
        try:
            yield
        finally:
            self.within -= 1


async def held(turn_of: Turns, patient: Patient, begun: asyncio.Event, until: asyncio.Event) -> None:
    async with turn_of.turn(patient):
        assert patient.within == 0
        begun.set()
        await until.wait()


async def test_no_more_run_at_once_than_there_are_places_and_the_others_are_told() -> None:
    turn_of, until = Turns("OpenAI", 2), asyncio.Event()
    patients, begun = [Patient() for _ in range(3)], [asyncio.Event() for _ in range(3)]
    tasks = [
        asyncio.create_task(held(turn_of, one, event, until))
        for one, event in zip(patients, begun, strict=True)
    ]
    await asyncio.gather(*(event.wait() for event in begun[:2]))
    await asyncio.sleep(0)
    assert not begun[2].is_set() and patients[2].within == 1
    assert patients[2].told == ["OpenAI takes 2 at once, so this one waits"] and not patients[0].told
    until.set()
    await asyncio.gather(*tasks)
    assert begun[2].is_set()


async def test_one_who_waits_can_be_canceled_and_keeps_no_place() -> None:
    turn_of, until = Turns("OpenAI", 1), asyncio.Event()
    first, second, third = Patient(), Patient(), Patient()
    begun = [asyncio.Event() for _ in range(3)]
    holding = asyncio.create_task(held(turn_of, first, begun[0], until))
    await begun[0].wait()
    waiting = asyncio.create_task(held(turn_of, second, begun[1], until))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert second.within == 0
    until.set()
    await holding
    await held(turn_of, third, begun[2], until)


async def test_no_more_begin_in_a_minute_than_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_MINUTE_S", 0.3)
    turn_of, loop = Turns("OpenAI", 100, per_min=3), asyncio.get_running_loop()
    begun: list[float] = []

    async def one() -> None:
        async with turn_of.turn(Patient()):
            begun.append(loop.time())

    await asyncio.gather(*(one() for _ in range(8)))
    assert all(later - sooner >= 0.29 for sooner, later in zip(begun, begun[3:], strict=False)), begun


async def test_who_waits_for_the_minute_to_pass_can_be_canceled_and_lets_the_next_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "_MINUTE_S", 0.2)
    turn_of = Turns("OpenAI", 100, per_min=1)
    async with turn_of.turn(Patient()):
        pass
    patient = Patient()
    waiting = asyncio.create_task(held(turn_of, patient, asyncio.Event(), asyncio.Event()))
    await asyncio.sleep(0.01)
    assert patient.told and "OpenAI takes no more for now" in patient.told[0]
    waiting.cancel()
    async with asyncio.timeout(2), turn_of.turn(Patient()):
        pass


async def test_when_the_provider_has_had_enough_nobody_begins_for_a_while() -> None:
    turn_of, loop = Turns("OpenAI", 100), asyncio.get_running_loop()
    turn_of.pause(0.2)
    began = loop.time()
    async with turn_of.turn(Patient()):
        assert loop.time() - began >= 0.19


async def test_a_pause_without_end_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_LONGEST_PAUSE_S", 0.1)
    turn_of = Turns("OpenAI", 1)
    turn_of.pause(1e9)
    async with asyncio.timeout(2), turn_of.turn(Patient()):
        pass
