"""Fixtures of the worker's trials; the modules beside this one are importable by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from trials import Trial, trial_at


@pytest.fixture
def trial(valkey_url: str, tmp_path: Path) -> Iterator[Trial]:
    """An empty ledger with a sweep, and no worker yet."""
    with trial_at(valkey_url, tmp_path) as running:
        yield running
