"""Fixtures of the tests of upgrades; the modules beside this one are importable by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from callboard_shared.ledger import Ledger
from callboard_shared.settings import LedgerSettings

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "worker"))


@pytest.fixture
def settings(valkey_url: str) -> LedgerSettings:
    return LedgerSettings(redis_url=SecretStr(valkey_url))


@pytest.fixture
def ledger(settings: LedgerSettings) -> Iterator[Ledger]:
    """An empty one."""
    ledger = Ledger(settings)
    yield ledger
    ledger.close()


@pytest.fixture
def server(valkey_url: str) -> Iterator[redis.Redis]:
    """The ledger's Redis, past all verbs."""
    with redis.Redis.from_url(valkey_url) as client:
        yield client
