"""A provider's limits make chats wait, and not fail."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from chats import Chats
from openai_server import OpenAIDouble, Reply
from trials import Trial, trial_at, until

MANY, WORDS = 200, 40


@pytest.fixture
def few(trial: Trial, running_double: OpenAIDouble) -> Chats:
    """A worker that asks two chats at once at most."""
    running_double.forget()
    chats = Chats(trial, running_double)
    chats.start_worker(CALLBOARD_OPENAI_CONCURRENCY="2")
    return chats


@pytest.fixture
def trial(valkey_url: str, tmp_path: Path) -> Iterator[Trial]:
    with trial_at(valkey_url, tmp_path) as running:
        yield running


def progress(chats: Chats, job: str) -> list[str]:
    """What was told while there was nothing to read yet."""
    return [data["message"] for kind, data in chats.events(job) if kind == "progress"]


def test_what_is_too_much_waits_its_turn_and_its_time_limit_with_it(few: Chats) -> None:
    few.double.usual = lambda body: Reply("a b c d", pause_s=0.2)
    jobs = few.submit(*[{}] * 8, timeout_ms=2_500)  # all of them together take longer
    records = few.trial.ended(jobs, 30, "llm")
    assert {(record.status, record.attempt) for record in records} == {("succeeded", 1)}
    assert few.double.most_open == 2
    delayed = [told for job in jobs if (told := progress(few, job))]
    assert len(delayed) == 6
    assert all("takes 2 at once" in told[0] and told[-1] == "answering" for told in delayed)


def test_one_that_waits_its_turn_is_canceled_at_once(few: Chats) -> None:
    few.double.usual = lambda body: Reply("word " * 400, pause_s=0.05)
    *running, waiting = few.submit({}, {}, {})
    until(lambda: progress(few, waiting), 10, "it waits")
    began = time.monotonic()
    few.cancel(waiting)
    assert few.ended(waiting, 3).status == "canceled" and time.monotonic() - began < 1.5
    assert len(few.double.asked) == 2
    for job in running:
        few.cancel(job)
    assert {few.ended(job, 3).status for job in running} == {"canceled"}


def test_two_hundred_chats_stream_at_once_in_one_small_process(
    trial: Trial, running_double: OpenAIDouble
) -> None:
    running_double.forget()
    running_double.usual = lambda body: Reply("word " * WORDS, pause_s=0.2)
    chats = Chats(trial, running_double)
    worker = psutil.Process(chats.start_worker().pid)
    jobs = chats.submit(*[{}] * MANY)
    until(lambda: running_double.open == MANY, 30, "all are being answered")
    sizes: list[int] = []

    def all_said() -> bool:
        sizes.append(worker.memory_info().rss)
        return not running_double.open

    until(all_said, 90, "all are answered", every_s=0.1)
    records = trial.ended(jobs, 30, "llm")
    assert max(sizes) < 300e6
    assert {(record.status, record.attempt) for record in records} == {("succeeded", 1)}
    assert all(chats.said(job) == "word " * WORDS for job in jobs)
