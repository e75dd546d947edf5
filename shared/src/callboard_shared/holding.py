"""Every content of a local object store as it was at one moment, while the stack goes on.

A copy of the ledger names files, and by the time they are copied some may be deleted. So what is deleted is held back
from *before* the ledger is copied until the files are. What came since is in the copy as well, without a record, and
the courier removes it in the end.

``python -m callboard_shared.holding begin`` and ``tar`` do the same for a shell: see docs/backup.md.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from callboard_shared.files import configured_store
from callboard_shared.ids import ALPHABET, is_id
from callboard_shared.object_store import LocalStore, place_of

RENEW_EVERY_S = 60.0


class Hold:
    """On what is deleted from a store; ``renew`` it while it is needed, ``end`` it after."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._renewed_at = float("-inf")

    def begin(self) -> None:
        for first in ALPHABET:
            for second in ALPHABET:
                (self._store.held / (first + second)).mkdir(parents=True, exist_ok=True)
        self.renew()

    def renew(self) -> None:
        if time.monotonic() - self._renewed_at > RENEW_EVERY_S:
            self._renewed_at = time.monotonic()
            os.utime(self._store.held)

    def end(self) -> None:
        shutil.rmtree(self._store.held, ignore_errors=True)

    def contents(self) -> Iterator[tuple[str, BinaryIO]]:
        """(place, content) of all that was there when the hold began, and of what came since, by place."""
        for part in (one + other for one in ALPHABET for other in ALPHABET):
            # In this order: what is deleted between the two looks is seen by the second.
            here = _names(self._store.folder / part)
            held = _names(self._store.held / part)
            for file_id in sorted(here | held):
                content = self._open(file_id)
                if content is not None:
                    with content:
                        yield place_of(file_id), content

    def _open(self, file_id: str) -> BinaryIO | None:
        for path in (self._store.path(file_id), self._store.held / place_of(file_id)):
            self.renew()
            try:
                return path.open("rb")
            except FileNotFoundError:
                continue
        return None  # deleted again before the hold began to be seen by everyone: no record names it


@contextmanager
def holding(store: LocalStore) -> Iterator[Hold]:
    hold = Hold(store)
    hold.begin()
    try:
        yield hold
    finally:
        hold.end()


class Renewing:
    """A content whose reading keeps the hold, however large it is."""

    def __init__(self, source: BinaryIO, hold: Hold) -> None:
        self._source, self._hold = source, hold

    def read(self, size: int = -1) -> bytes:
        self._hold.renew()
        return self._source.read(size)


def _names(folder: Path) -> set[str]:
    try:
        return {name for name in os.listdir(folder) if is_id(name, "file")}
    except FileNotFoundError:
        return set()


def main(command: str) -> None:
    """``begin``: hold what is deleted. ``tar``: all contents to standard output, and the hold's end."""
    store = configured_store()
    if not isinstance(store, LocalStore):
        sys.exit("The files are in a bucket (CALLBOARD_FILES_URL), whose copies are its own affair.")
    hold = Hold(store)
    if command == "begin":
        hold.begin()
        return
    try:
        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for place, content in hold.contents():
                member = archive.gettarinfo(arcname=place, fileobj=content)
                archive.addfile(member, Renewing(content, hold))
    finally:
        hold.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
