"""The version of the ledger's layout: checked by every process before it does anything else.

A ledger that holds nothing gets the newest version; an older one is migrated, by one process while the others wait; one
that is newer than the code is refused. Data without a version are of version 0, from before there were versions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event

import structlog

from callboard_shared.access import new_secret
from callboard_shared.errors import LedgerNewer, LedgerUnavailable
from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call, Ledger, lua
from callboard_shared.ledger.migrations import MIGRATIONS, Migration

log = structlog.get_logger(__name__)

NEWEST = MIGRATIONS[-1].to
PATIENCE_S = 600.0
"""How long a process waits for the migration that another one makes, before it gives up (and is started again)."""
_LOCK_MS = 15_000
"""A migration whose process fell silent for so long is taken over by another."""
_POLL_S = 0.25
_SAY_EVERY_S = 5.0
_AWAY_S = 1.0
_KEYS = [keys.SCHEMA, keys.MIGRATION_LOCK]


def version(newest: int = NEWEST) -> Call[int]:
    """The ledger's version; ``newest`` is written into one that holds nothing."""
    return lua("schema", _KEYS, ["read", newest, keys.EVERYTHING], int)


def written() -> Call[int | None]:
    """The version that is written in the ledger; changes nothing."""
    return Call(("GET", keys.SCHEMA), lambda reply: None if reply is None else int(reply))


def ensure(
    ledger: Ledger,
    migrations: Sequence[Migration] = MIGRATIONS,
    *,
    stop: Event | None = None,
    patience_s: float = PATIENCE_S,
) -> int:
    """See to it that the ledger is of the newest version. Gives the version that it had.

    ``stop``: leave as soon as it is set, also between the steps of a migration. Raises LedgerNewer; LedgerUnavailable
    when the ledger does not answer, when stopped, or when another's migration takes longer than ``patience_s``.
    """
    stop = stop or Event()
    name, newest = new_secret()[:12], migrations[-1].to
    deadline = time.monotonic() + patience_s
    before: int | None = None
    said_at = float("-inf")
    while True:
        found = ledger.run(version(newest))
        before = found if before is None else before
        if found > newest:
            raise _newer(found, newest)
        if found == newest:
            return before
        if ledger.run(_hold(name)):
            _advance(ledger, migrations, newest, name, stop)
            continue
        if time.monotonic() > deadline:
            raise LedgerUnavailable(
                f"Another process has been migrating the ledger for {patience_s:.0f} s. Look at its log.",
                retry_after_s=60,
            )
        if time.monotonic() - said_at > _SAY_EVERY_S:
            said_at = time.monotonic()
            log.info(
                "schema.waiting", version=found, newest=newest, reason="another process migrates the ledger"
            )
        if stop.wait(_POLL_S):
            raise _stopped()


def ensure_patiently(ledger: Ledger, *, stop: Event | None = None) -> int:
    """As ``ensure``, and waits for a ledger that is away for as long as it takes."""
    stop = stop or Event()
    while True:
        try:
            return ensure(ledger, stop=stop)
        except LedgerUnavailable as error:
            if stop.is_set():
                raise
            log.warning("schema.ledger_away", reason=error.detail)
        if stop.wait(_AWAY_S):
            raise _stopped()


def _advance(ledger: Ledger, migrations: Sequence[Migration], newest: int, name: str, stop: Event) -> None:
    """Make the next migration, if there still is one to make and the lock is kept until its end."""
    found = ledger.run(version(newest))  # again: it may have been made between the look and the lock
    due = [one for one in migrations if one.to == found + 1]
    if not due:
        ledger.run(_let_go(name))
        return
    (migration,) = due
    began, steps = time.monotonic(), 0
    log.info("schema.migrating", version=found, to=migration.to, what=migration.what)
    for _ in migration.steps(ledger):
        steps += 1
        if not ledger.run(_hold(name)):
            log.warning("schema.taken_over", to=migration.to, reason="this process was silent for too long")
            return
        if stop.is_set():
            ledger.run(_let_go(name))
            raise _stopped()
    if ledger.run(lua("schema", _KEYS, ["move", found, migration.to, name], bool)):
        log.info("schema.migrated", to=migration.to, steps=steps, seconds=round(time.monotonic() - began, 1))


def _hold(name: str) -> Call[bool]:
    return lua("lock", [keys.MIGRATION_LOCK], [name, _LOCK_MS], bool)


def _let_go(name: str) -> Call[bool]:
    """Others need not wait until it lapses."""
    return lua("lock", [keys.MIGRATION_LOCK], [name, 1], bool)


def _newer(found: int, newest: int) -> LedgerNewer:
    return LedgerNewer(
        f"The ledger's data are of version {found}, and this Callboard knows versions up to {newest}. Start the "
        "Callboard that wrote them or a newer one, or restore a backup from before that one was started."
    )


def _stopped() -> LedgerUnavailable:
    return LedgerUnavailable("The process ends before the ledger could be used.", retry_after_s=2)
