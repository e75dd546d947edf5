"""A restore puts a folder in place when all of it was found right, and changes nothing before."""

from __future__ import annotations

from pathlib import Path

import pytest

from callboard_embedded.archive import writing
from callboard_embedded.folder import Folder, Refused, locked
from callboard_embedded.restore import put_back
from callboard_shared.ledger import schema


@pytest.fixture(autouse=True)
def _default_places(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CALLBOARD_FILES_DIR", "CALLBOARD_FILES_URL"):
        monkeypatch.delenv(name, raising=False)


def backup(path: Path, layout: int = schema.NEWEST) -> Path:
    with path.open("wb") as target, writing(target) as writer:
        writer.add_text("api-key", "the old one")
        writer.finish("0.1.0", layout, "2026-11-26T10:00:00+00:00", None)
    return path


def used(path: Path) -> Folder:
    path.mkdir()
    (path / "api-key").write_text("the new one")
    return Folder(path)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_restored_folder_is_private_and_marked(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "deep" / "home")
    manifest, aside = put_back(folder, backup(tmp_path / "b.tar.gz"))
    assert aside is None and manifest.callboard == "0.1.0"
    assert folder.api_key.read_text() == "the old one"
    assert folder.restored.exists()
    assert folder.home.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.home.parent.iterdir()] == ["home"]


def test_what_was_there_is_put_aside_and_only_when_asked_for(tmp_path: Path) -> None:
    folder, path = used(tmp_path / "home"), backup(tmp_path / "b.tar.gz")
    before = everything(tmp_path)
    with pytest.raises(Refused, match="there is a stack in"):
        put_back(folder, path)
    assert everything(tmp_path) == before
    _, aside = put_back(folder, path, replace=True)
    assert folder.api_key.read_text() == "the old one"
    assert aside is not None and (aside / "api-key").read_text() == "the new one"


def test_a_damaged_backup_changes_nothing(tmp_path: Path) -> None:
    folder, path = used(tmp_path / "home"), backup(tmp_path / "b.tar.gz")
    path.write_bytes(path.read_bytes()[:-20])
    before = everything(tmp_path)
    with pytest.raises(Refused, match="cut short"):
        put_back(folder, path, replace=True)
    assert everything(tmp_path) == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["b.tar.gz", "home"]


def test_a_backup_of_a_newer_ledger_is_refused_with_a_cure(tmp_path: Path) -> None:
    path = backup(tmp_path / "b.tar.gz", schema.NEWEST + 1)
    with pytest.raises(Refused, match=rf"of version {schema.NEWEST + 1}.*0\.1\.0"):
        put_back(Folder(tmp_path / "home"), path)
    assert not (tmp_path / "home").exists()


def test_a_folder_that_a_stack_holds_is_left_alone(tmp_path: Path) -> None:
    folder, path = used(tmp_path / "home"), backup(tmp_path / "b.tar.gz")
    with locked(folder), pytest.raises(Refused, match="make stop"):
        put_back(folder, path, replace=True)
    assert folder.api_key.read_text() == "the new one"


def test_files_that_are_elsewhere_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_FILES_DIR", str(tmp_path / "elsewhere"))
    with pytest.raises(Refused, match="Restore with it unset"):
        put_back(Folder(tmp_path / "home"), backup(tmp_path / "b.tar.gz"))
