"""Fixtures of speech against a double; the modules beside this one, and the doubles, are importable by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "worker"))
sys.path.insert(0, str(Path(__file__).parents[2] / "doubles"))

from speech_desk import Desk
from speech_server import SpeechDouble, serving
from trials import trial_at


@pytest.fixture(scope="module")
def double() -> Iterator[SpeechDouble]:
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def desk(
    valkey_server: str, tmp_path_factory: pytest.TempPathFactory, double: SpeechDouble
) -> Iterator[Desk]:
    """A ledger with a sweep, and no worker yet."""
    with trial_at(valkey_server, tmp_path_factory.mktemp("speech")) as trial:
        yield Desk(trial, double)


@pytest.fixture(autouse=True)
def _quiet(double: SpeechDouble) -> None:
    double.forget()
