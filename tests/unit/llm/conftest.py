"""Fixtures of the LLM worker's tests; the doubles of providers are importable by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "doubles"))

from openai_server import OpenAIDouble


@pytest.fixture(scope="package")
def running_double() -> Iterator[OpenAIDouble]:
    running = OpenAIDouble().start()
    yield running
    running.stop()


@pytest.fixture
def double(running_double: OpenAIDouble) -> OpenAIDouble:
    """A server that speaks as OpenAI does, and has been told nothing yet."""
    running_double.forget()
    return running_double
