"""Fixtures of the fuzz tests. ``CALLBOARD_FUZZ=1`` (make fuzz) looks for what nobody knows yet; else the cases are always
the same ones, so that a failure is one of the change that brought it. ``CALLBOARD_FUZZ_SEED`` gives a search again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "security"))

from house import House, house_at
from search import FUZZ, SEED


def pytest_report_header() -> str | None:
    return f"fuzz: CALLBOARD_FUZZ_SEED={SEED} makes the same search again" if FUZZ else None


@pytest.fixture(scope="module")
def house(valkey_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway at whose keys, files and jobs anything may be thrown."""
    with house_at(valkey_server, tmp_path_factory.mktemp("fuzz"), max_waiting_jobs=1_000_000) as house:
        yield house
