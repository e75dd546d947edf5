"""The real vision worker, run by Celery as in production, with the real default model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "worker"))

from sights import Sights
from trials import trial_at


@pytest.fixture
def sights(valkey_url: str, tmp_path: Path) -> Iterator[Sights]:
    """An empty ledger with a sweep, and no worker yet."""
    with trial_at(valkey_url, tmp_path) as trial:
        yield Sights(trial)
