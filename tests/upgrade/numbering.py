"""A migration of tests: each number in a list of a hundred keys becomes ten times as much, a key a step.

Run as a program it makes that migration, slowly where asked to, as a process that starts would.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from callboard_shared.ledger import Call, Ledger, schema
from callboard_shared.ledger.migrations import MIGRATIONS, Migration

KEYS = [f"cb:{{nlp}}:trial:{number}" for number in range(100)]
TIMES_TEN = """
if redis.call("HEXISTS", KEYS[1], "tenfold") == 1 then return 0 end
redis.call("HSET", KEYS[1], "tenfold", redis.call("HGET", KEYS[1], "plain") * 10)
redis.call("HDEL", KEYS[1], "plain")
redis.call("HINCRBY", "cb:{nlp}:trial-changes", KEYS[1], 1)
return 1
"""
LOOKS = "cb:{nlp}:trial-looks"


def lay(ledger: Ledger) -> None:
    """What the migration is to change, in a ledger of the version before it."""
    for number, key in enumerate(KEYS):
        ledger.run(Call(("HSET", key, "plain", number), int))
    ledger.run(schema.version())  # without a version, but not empty: so it is migrated to today's first


def tenfold(ledger: Ledger, pause_s: float = 0, after: Callable[[], None] = lambda: None) -> Iterator[None]:
    for key in KEYS:
        ledger.run(Call(("EVAL", TIMES_TEN, 1, key), int))
        ledger.run(Call(("INCR", LOOKS), int))
        time.sleep(pause_s)
        after()
        yield


def migrations(pause_s: float = 0) -> tuple[Migration, ...]:
    """Today's, and the one of tests behind them."""
    return (*MIGRATIONS, Migration(schema.NEWEST + 1, "of tests", partial(tenfold, pause_s=pause_s)))


if __name__ == "__main__":
    before = schema.ensure(Ledger(), migrations(float(sys.argv[1])), patience_s=60)
    print("it was", before)
