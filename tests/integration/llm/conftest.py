"""The real LLM worker, run by Celery as in production, between a real ledger and a double of OpenAI."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "worker"))
sys.path.insert(0, str(Path(__file__).parents[2] / "doubles"))

from chats import Chats
from openai_server import OpenAIDouble
from trials import trial_at


@pytest.fixture(scope="module")
def running_double() -> Iterator[OpenAIDouble]:
    running = OpenAIDouble().start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def running_chats(
    valkey_server: str, running_double: OpenAIDouble, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Chats]:
    """One worker for all tests of a module: none of them ends it."""
    with trial_at(valkey_server, tmp_path_factory.mktemp("llm")) as trial:
        chats = Chats(trial, running_double)
        chats.start_worker(
            CALLBOARD_OPENAI_SILENCE_S="1",
            CALLBOARD_LOG_LEVEL="DEBUG",
            CALLBOARD_WEBHOOK_ALLOW_PRIVATE="true",
        )
        yield chats


@pytest.fixture
def chats(running_chats: Chats) -> Chats:
    running_chats.double.forget()
    return running_chats


@pytest.fixture
def double(chats: Chats) -> OpenAIDouble:
    return chats.double
