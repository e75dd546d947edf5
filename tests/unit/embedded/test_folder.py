"""The folder of a stack: private, held by one stack at a time, with a key that is made once."""

from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

import pytest

from callboard_embedded.folder import Folder, Refused, admin_key, holder, locked, write_private


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "home")
    made.make()
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_private_to_its_owner(folder: Folder) -> None:
    assert {mode(path) for path in (folder.home, folder.run, folder.logs, folder.valkey)} == {0o700}


def test_the_admin_key_is_made_once_and_only_its_owner_may_read_it(folder: Folder) -> None:
    key = admin_key(folder)
    assert admin_key(folder) == key
    assert key.startswith("cb_embedded_")
    assert len(key) == len("cb_embedded_") + 43
    assert mode(folder.api_key) == 0o600


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]


def _hold(
    home: Path, ready: multiprocessing.synchronize.Event, done: multiprocessing.synchronize.Event
) -> None:
    with locked(Folder(home)):
        ready.set()
        done.wait(20)


def test_a_second_stack_on_the_same_folder_is_refused_and_told_what_to_do(folder: Folder) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(folder.home, ready, done))
    other.start()
    try:
        assert ready.wait(20)
        assert holder(folder) == other.pid
        with pytest.raises(Refused, match=rf"(?s)pid {other.pid}.*CALLBOARD_HOME"), locked(folder):
            pass
    finally:
        done.set()
        other.join(20)
    assert holder(folder) is None


def test_the_lock_goes_with_a_killed_process(folder: Folder) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(folder.home, ready, done))
    other.start()
    assert ready.wait(20)
    other.kill()
    other.join(20)
    with locked(folder):
        pass


def test_a_place_that_cannot_be_written_is_refused_with_the_setting_to_change(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(Refused, match="CALLBOARD_HOME"):
        Folder(file / "home").make()
