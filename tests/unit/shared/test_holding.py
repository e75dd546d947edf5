"""While a backup is made, what is deleted is held back for it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from callboard_shared.errors import NotFound
from callboard_shared.files import Files, LocalStore
from callboard_shared.holding import holding
from callboard_shared.object_store import HOLD_LAPSES_S, place_of


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "files")


def put(store: LocalStore, data: bytes) -> str:
    return Files(store).put_bytes("key_1", "a.txt", data).id


def test_what_is_deleted_while_it_is_held_is_in_the_copy_and_nowhere_else(store: LocalStore) -> None:
    stays, goes, goes_midway = (put(store, name.encode()) for name in ("stays", "goes", "midway"))
    gone_before = put(store, b"before")
    store.delete(gone_before)
    with holding(store) as hold:
        assert store.delete(goes)
        with pytest.raises(NotFound):
            store.open(goes)
        assert {content.file_id for content in store.contents()} == {stays, goes_midway}
        assert not store.delete(goes), "a second time there is nothing to delete"
        copied: dict[str, bytes] = {}
        for place, content in hold.contents():
            store.delete(goes_midway)  # after the copy has begun
            copied[place] = content.read()
        came = put(store, b"came")
        store.delete(came)
    assert copied == {place_of(stays): b"stays", place_of(goes): b"goes", place_of(goes_midway): b"midway"}
    assert not store.held.exists()
    assert [content.file_id for content in store.contents()] == [stays]
    store.delete(stays)
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_each_content_is_copied_once_though_all_are_deleted_meanwhile(store: LocalStore) -> None:
    ids = [put(store, str(number).encode()) for number in range(200)]
    with holding(store) as hold:
        places = []
        for place, _ in hold.contents():
            places.append(place)
            for one in ids:
                store.delete(one)
    assert sorted(places) == sorted(map(place_of, ids))


def test_a_hold_whose_backup_was_killed_lapses(store: LocalStore) -> None:
    one, other = put(store, b"one"), put(store, b"other")
    hold = holding(store)
    hold.__enter__()
    store.delete(one)
    store.remove_partials()
    assert store.held.exists()
    long_ago = time.time() - HOLD_LAPSES_S - 1
    os.utime(store.held, (long_ago, long_ago))
    store.remove_partials()
    assert not store.held.exists()
    assert store.delete(other)


def test_a_shell_holds_and_copies_in_two_steps(store: LocalStore) -> None:
    """As docs/backup.md does it with containers."""
    one = put(store, b"one")
    ours = {**os.environ, "CALLBOARD_FILES_DIR": str(store.folder)}
    command = [sys.executable, "-m", "callboard_shared.holding"]
    subprocess.run([*command, "begin"], env=ours, check=True, timeout=60)
    store.delete(one)
    done = subprocess.run([*command, "tar"], env=ours, check=True, timeout=60, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert archive.getnames() == [place_of(one)]
    assert not store.held.exists()
