"""The migrations of the ledger's data, in order: each brings them from one version of the layout to the next.

A migration gives control back (``yield``) after each step. A step is one script, leaves alone what is in the new form
already, and so may be done twice: a migration that is killed begins anew. Once released, it is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call, Ledger, lua


@dataclass(frozen=True, slots=True)
class Migration:
    """to: the version that it leads to, from the one before; what: in a few words."""

    to: int
    what: str
    steps: Callable[[Ledger], Iterator[None]]


def _urls_and_bytes(ledger: Ledger) -> Iterator[None]:
    """Until November 2026 a job's hook had no URL, and nobody counted how much each key has stored."""
    for page in ledger.scan(keys.pattern(keys.of("*", "job"))):
        for queue, ids in _by_queue(page).items():
            pairs = [keys.of(queue, name, one) for one in ids for name in ("job", "spec")]
            ledger.run(lua("migrate_hooks", pairs, [], int))
        yield
    if ledger.run(_exists(keys.FILES_BYTES)) and not ledger.run(_exists(keys.MIGRATED_FILES)):
        return  # counted as files came and went: today's layout, from the days before it had a version
    for page in ledger.scan(keys.pattern(keys.FILE_RECORDS)):
        records = [key.decode() for key in page]
        ledger.run(lua("migrate_files", [keys.FILES_BYTES, keys.MIGRATED_FILES, *records], [], int))
        yield
    ledger.run(Call(("DEL", keys.MIGRATED_FILES), int))


def _by_queue(job_keys: Sequence[bytes]) -> dict[str, list[str]]:
    """Ids of jobs; a script's keys are all of one queue."""
    found: dict[str, list[str]] = {}
    for key in job_keys:
        queue, job_id = keys.queue_and_id(key.decode(), "job")
        found.setdefault(queue, []).append(job_id)
    return found


def _exists(key: str) -> Call[bool]:
    return Call(("EXISTS", key), bool)


MIGRATIONS = (Migration(1, "URLs of webhooks with their jobs; stored bytes by key", _urls_and_bytes),)
