"""Fixtures of the courier's trials; they share the harness of the worker's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "worker"))

from trials import Trial, trial_at


@pytest.fixture
def trial(valkey_url: str, tmp_path: Path) -> Iterator[Trial]:
    """An empty ledger; the sweep is the courier's own."""
    with trial_at(valkey_url, tmp_path, sweep=False) as running:
        yield running
