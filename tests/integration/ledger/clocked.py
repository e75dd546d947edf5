"""The ledger with a clock that tests move: the scripts are the real ones, but read the time from a key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from callboard_shared.ledger import Call, Ledger
from callboard_shared.ledger.client import Script
from callboard_shared.settings import LedgerSettings

T = TypeVar("T")

START_MS = 1_800_000_000_000
_REAL = b'call("TIME")'
_TESTS = b'{ call("GET", "test:clock:s"), call("GET", "test:clock:us") }'


@cache
def _with_test_clock(real: Script) -> Script:
    source = real.source.replace(b"redis." + _REAL, b"(" + _TESTS.replace(b"call", b"redis.call") + b")")
    source = source.replace(_REAL, _TESTS)
    return Script(real.name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest())


def on_test_clock(call: Call[T]) -> Call[T]:
    """The same call, by the clock of the tests (calls that do not ask for the time stay as they are)."""
    if call.script is None or _REAL not in call.script.source:
        return call
    script = _with_test_clock(call.script)
    return Call((call.command[0], script.sha, *call.command[2:]), call.parse, script)


class ClockedLedger(Ledger):
    """A ledger whose time is ``now_ms`` and moves only by ``pass_time``."""

    def __init__(self, settings: LedgerSettings) -> None:
        super().__init__(settings)
        self.redis = self._redis
        self.set_time(START_MS)

    def set_time(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.redis.mset({"test:clock:s": now_ms // 1000, "test:clock:us": now_ms % 1000 * 1000})

    def pass_time(self, ms: int) -> None:
        self.set_time(self.now_ms + ms)

    def run(self, call: Call[T]) -> T:
        return super().run(on_test_clock(call))

    def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        return super().run_many([on_test_clock(call) for call in calls])
