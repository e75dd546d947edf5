"""A provider has answered, and the worker is killed before the commit: what was paid for is not paid again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from evidence import ended, enter
from scale import pick
from speech_server import ELEVENLABS_KEY, SpeechDouble, serving
from submitting import Accepted
from wire_cutter import Fault
from yard import Plan, Yard

from callboard_shared.ledger.client import script

PIECES = 3


@pytest.fixture
def provider() -> Iterator[SpeechDouble]:
    with serving() as running:
        yield running


class BeforeTheCommit:
    """Holds the step that would end a speech, and says so."""

    def __init__(self) -> None:
        self.reached = threading.Event()

    def __call__(self, chunk: bytes) -> Fault | None:
        if script("finish").sha.encode() not in chunk or b"succeeded" not in chunk:
            return None
        self.reached.set()
        return Fault("late", pause_s=3600)


def test_a_speech_is_paid_for_once_when_its_worker_dies_before_the_commit(
    yard_of: Callable[[Plan], Yard], provider: SpeechDouble
) -> None:
    env = {"ELEVENLABS_API_KEY": ELEVENLABS_KEY, "ELEVENLABS_BASE_URL": provider.url}
    workers = "llm=1,nlp=0,nlp-train=0,vision=0,vision-train=0"
    yard = yard_of(Plan(workers, env=env, reach={"llm": {"CALLBOARD_REDIS_URL": "wire"}}))
    accepted, kills = Accepted(), pick(2, 5)
    for turn in range(kills):
        yard.cutters["wire"].spoil = commit = BeforeTheCommit()
        text = " ".join(f"{turn * PIECES + piece} {'word ' * 380}ends." for piece in range(1, PIECES + 1))
        job = accepted.submit(
            yard.callboard, {"type": "tts.speech", "input": {"text": text, "format": "wav"}}
        )
        assert commit.reached.wait(60), "it was never about to commit"
        yard.cutters["wire"].spoil = None
        yard.kill("llm")
        ended(yard, [job], 60)
    seen, _ = enter(yard, "provider has answered, worker killed before the commit", kills, accepted,
                    also=f"{len(provider.texts)} calls for {kills * PIECES} pieces of speech")  # fmt: skip
    assert {job.ends[0].attempt for job in seen.jobs.values()} == {2}
    assert set(Counter(provider.texts).values()) == {1} and len(provider.texts) == kills * PIECES
