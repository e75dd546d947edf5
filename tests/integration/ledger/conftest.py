"""Fixtures of the ledger's tests; the modules beside this one are importable by name."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parent))

from clocked import ClockedLedger

from callboard_shared.ledger import AsyncLedger, Ledger
from callboard_shared.settings import LedgerSettings


@pytest.fixture
def settings(valkey_url: str) -> LedgerSettings:
    return LedgerSettings(redis_url=SecretStr(valkey_url))


@pytest.fixture
def ledger(settings: LedgerSettings) -> Iterator[ClockedLedger]:
    """An empty ledger whose clock moves only by ``pass_time``."""
    ledger = ClockedLedger(settings)
    yield ledger
    ledger.close()


@pytest.fixture
def real_ledger(settings: LedgerSettings) -> Iterator[Ledger]:
    """An empty ledger as it is in service."""
    ledger = Ledger(settings)
    yield ledger
    ledger.close()


@pytest.fixture
async def aledger(settings: LedgerSettings) -> AsyncIterator[AsyncLedger]:
    ledger = AsyncLedger(settings)
    yield ledger
    await ledger.close()
