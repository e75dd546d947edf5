"""The embedded stack without what loads models, and the ways into it that these tests use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from pydantic import SecretStr

from callboard_embedded.folder import Folder
from callboard_embedded.stack import Stack
from callboard_embedded.valkey import recall
from callboard_shared.ledger import Ledger
from callboard_shared.settings import LedgerSettings

LIGHT = {
    "CALLBOARD_WORKERS": "nlp=0,llm=0,vision=0,vision-train=0",
    "CALLBOARD_SHUTDOWN_GRACE_S": "1",
    "CALLBOARD_RATE_LIMIT_PER_S": "10000",
    "CALLBOARD_RATE_LIMIT_BURST": "100000",
}


def small_stack(home: Path, port: int | None = None, *, trains: bool = False) -> Stack:
    """``trains``: with the worker that ``everything.lay`` needs."""
    env = LIGHT if trains else {**LIGHT, "CALLBOARD_WORKERS": LIGHT["CALLBOARD_WORKERS"] + ",nlp-train=0"}
    return Stack(home, port, env=env, output=home.with_suffix(".log"))


def client(url: str, key: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60)


@contextmanager
def ledger_of(home: Path) -> Iterator[Ledger]:
    ledger = Ledger(LedgerSettings(redis_url=SecretStr(recall(Folder(home)).url)))
    try:
        yield ledger
    finally:
        ledger.close()
