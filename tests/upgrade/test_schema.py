"""The version of the ledger's layout: written, migrated by one process at a time, or refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numbering
import pytest
import redis

from callboard_shared.errors import LedgerNewer, LedgerUnavailable
from callboard_shared.ledger import Ledger, keys, schema
from callboard_shared.ledger.migrations import MIGRATIONS
from callboard_shared.settings import LedgerSettings

HERE = Path(__file__).parent


def start(settings: LedgerSettings, pause_s: float) -> subprocess.Popen[bytes]:
    """A process that starts under the code that has the migration of tests."""
    return subprocess.Popen(
        [sys.executable, str(HERE / "numbering.py"), str(pause_s)],
        env={**os.environ, "CALLBOARD_REDIS_URL": settings.redis_url.get_secret_value()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def looks(server: redis.Redis) -> int:
    return int(server.get(numbering.LOOKS) or 0)


def until_looks(server: redis.Redis, most: int) -> None:
    deadline = time.monotonic() + 30
    while looks(server) < most:
        assert time.monotonic() < deadline, "the migration did not come so far"
        time.sleep(0.01)


def is_tenfold(server: redis.Redis) -> bool:
    """Each number, once and no more."""
    return [server.hgetall(key) for key in numbering.KEYS] == [
        {b"tenfold": str(number * 10).encode()} for number in range(len(numbering.KEYS))
    ]


def test_the_migrations_are_numbered_without_a_gap() -> None:
    assert [migration.to for migration in MIGRATIONS] == list(range(1, schema.NEWEST + 1))


def test_an_empty_ledger_gets_the_newest_version_and_no_migration(
    ledger: Ledger, server: redis.Redis
) -> None:
    server.set("_kombu.binding.nlp", "Celery was here first")
    assert schema.ensure(ledger, numbering.migrations()) == schema.NEWEST + 1
    assert server.get(keys.SCHEMA) == str(schema.NEWEST + 1).encode()
    assert looks(server) == 0


def test_data_without_a_version_are_migrated_from_the_first_on(ledger: Ledger, server: redis.Redis) -> None:
    numbering.lay(ledger)
    assert schema.ensure(ledger, numbering.migrations()) == 0
    assert is_tenfold(server)
    assert schema.ensure(ledger, numbering.migrations()) == schema.NEWEST + 1
    assert looks(server) == len(numbering.KEYS)


def test_a_newer_ledger_is_refused_with_a_cure_and_stays_as_it_is(
    ledger: Ledger, server: redis.Redis
) -> None:
    server.set(keys.SCHEMA, schema.NEWEST + 1)
    with pytest.raises(
        LedgerNewer, match=rf"of version {schema.NEWEST + 1}, .* up to {schema.NEWEST}\. Start"
    ):
        schema.ensure(ledger)
    assert server.keys("*") == [keys.SCHEMA.encode()]


def test_a_migration_that_is_killed_half_way_is_finished_by_the_next_process(
    settings: LedgerSettings, ledger: Ledger, server: redis.Redis
) -> None:
    numbering.lay(ledger)
    schema.ensure(ledger)
    killed = start(settings, 0.02)
    until_looks(server, 40)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert 0 < server.hlen("cb:{nlp}:trial-changes") < len(numbering.KEYS)
    assert server.get(keys.SCHEMA) == str(schema.NEWEST).encode()
    server.pexpire(keys.MIGRATION_LOCK, 300)  # else it lapses after fifteen seconds
    assert schema.ensure(ledger, numbering.migrations()) == schema.NEWEST
    assert is_tenfold(server)
    assert set(server.hvals("cb:{nlp}:trial-changes")) == {b"1"}


def test_of_two_processes_one_migrates_and_the_other_waits_and_says_so(
    settings: LedgerSettings, ledger: Ledger, server: redis.Redis
) -> None:
    numbering.lay(ledger)
    schema.ensure(ledger)
    both = [start(settings, 0.02) for _ in range(2)]
    said = [process.communicate(timeout=60)[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert is_tenfold(server)
    assert looks(server) == len(numbering.KEYS), "each step was made once, so by one process"
    assert sum("schema.migrated" in text for text in said) == 1
    assert sum("schema.waiting" in text for text in said) == 1


def test_a_wait_for_another_process_is_bounded(ledger: Ledger, server: redis.Redis) -> None:
    numbering.lay(ledger)
    server.set(keys.MIGRATION_LOCK, "another", px=60_000)
    with pytest.raises(LedgerUnavailable, match="migrating the ledger for 0 s"):
        schema.ensure(ledger, patience_s=0.1)


def test_a_process_that_is_to_end_leaves_a_migration_between_two_steps(
    ledger: Ledger, server: redis.Redis
) -> None:
    numbering.lay(ledger)
    schema.ensure(ledger)
    stop = threading.Event()
    stop.set()
    with pytest.raises(LedgerUnavailable, match="ends before"):
        schema.ensure(ledger, numbering.migrations(), stop=stop)
    assert looks(server) == 1
    assert schema.ensure(ledger, numbering.migrations(), patience_s=5) == schema.NEWEST
    assert is_tenfold(server)


def test_a_process_that_was_silent_for_too_long_does_not_say_that_it_is_done(
    ledger: Ledger, server: redis.Redis
) -> None:
    numbering.lay(ledger)
    schema.ensure(ledger)

    def lose() -> None:
        server.set(keys.MIGRATION_LOCK, "another", px=60_000)

    last = numbering.Migration(
        schema.NEWEST + 1, "of tests", lambda ledger: numbering.tenfold(ledger, after=lose)
    )
    with pytest.raises(LedgerUnavailable, match="Another process"):
        schema.ensure(ledger, (*MIGRATIONS, last), patience_s=0.3)
    assert looks(server) == 1
    assert server.get(keys.SCHEMA) == str(schema.NEWEST).encode()
