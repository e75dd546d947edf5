"""A consistent copy of a stack's ledger: what Valkey itself saves at one moment, while it goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from callboard_embedded.folder import Folder, Refused, holder, locked
from callboard_embedded.processes import records, start
from callboard_embedded.valkey import MALLOC, Valkey, configure, recall
from callboard_shared.ledger import keys

RDB = "dump.rdb"
BASE = "appendonly.aof.1.base.rdb"
AOF_MANIFEST = f"file {BASE} seq 1 type b\n"
"""Makes of the saved copy an append-only file that begins with it, which is what the server reads when it starts
(https://valkey.io/topics/persistence/, "Backing up AOF persistence")."""
_LOAD_S = 600.0
_SAVE_S = 3600.0
_END_S = 30.0
_POLL_S = 0.05


@contextmanager
def serving(folder: Folder) -> Iterator[Valkey]:
    """The stack's Valkey: the one that runs, or one that is started for as long as it is needed. Raises Refused."""
    if holder(folder) is not None:
        valkey = recall(folder)
        if not valkey.port:
            raise Refused("The stack is only starting. Try again when it is ready.")
        yield valkey
        return
    with locked(folder):
        if any(each.session() for each in records(folder.run)):
            raise Refused("Something of a stack that was killed still runs. End it first: make stop")
        valkey = configure(folder)
        process = start(valkey.argv, {**os.environ, **MALLOC}, folder.logs / "valkey.log")
        try:
            yield valkey
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_END_S)


@contextmanager
def saved(folder: Folder, valkey: Valkey) -> Iterator[tuple[Path, int | None]]:
    """A file with the ledger as it was at one moment within the call, and the version of its layout; removed at the
    end. Raises Refused."""
    path = folder.valkey / RDB
    try:
        with redis.Redis.from_url(valkey.url, socket_timeout=30) as server:
            _await(server)
            version = server.get(keys.SCHEMA)
            _save(server)
        yield path, None if version is None else int(version)
    finally:
        path.unlink(missing_ok=True)


def _save(server: redis.Redis) -> None:
    deadline = time.monotonic() + _SAVE_S
    before = _until_idle(server, deadline)["rdb_saves"]
    server.execute_command("BGSAVE", "SCHEDULE")  # at once, or after a rewrite of the append-only file
    while True:
        facts = _until_idle(server, deadline)
        if facts["rdb_saves"] != before:  # counted when it begins
            break
        if time.monotonic() > deadline:
            raise Refused("Valkey has not begun to save a copy of its data.")
        time.sleep(_POLL_S)
    if facts["rdb_last_bgsave_status"] != "ok":
        raise Refused(
            "Valkey could not save a copy of its data; its log is logs/valkey.log. Is the disk full?"
        )


def _until_idle(server: redis.Redis, deadline: float) -> dict[str, object]:
    """What it says of its saves, once none is under way."""
    while (facts := _facts(server))["rdb_bgsave_in_progress"]:
        if time.monotonic() > deadline:
            raise Refused(f"Valkey has not saved a copy of its data within {_SAVE_S:.0f} s.")
        time.sleep(_POLL_S)
    return facts


def _await(server: redis.Redis) -> None:
    """Until it has loaded its data."""
    deadline = time.monotonic() + _LOAD_S
    while True:
        try:
            server.ping()
            return
        except (redis.ConnectionError, redis.exceptions.BusyLoadingError) as error:
            if time.monotonic() > deadline:
                raise Refused("Valkey does not answer; its log is logs/valkey.log.") from error
            time.sleep(0.1)


def _facts(server: redis.Redis) -> dict[str, object]:
    found: dict[str, object] = server.info("persistence")
    return found
