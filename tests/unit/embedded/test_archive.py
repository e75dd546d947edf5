"""A backup's file: what was written comes out, and whatever was not written so is refused."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from callboard_embedded.archive import MANIFEST, Manifest, unpack, writing
from callboard_embedded.folder import Refused

Change = Callable[[tarfile.TarInfo, bytes], list[tuple[tarfile.TarInfo, bytes]]]


@pytest.fixture
def backup(tmp_path: Path) -> bytes:
    """Of a small folder."""
    home, target = tmp_path / "home", io.BytesIO()
    (home / "files" / "ab").mkdir(parents=True)
    for name, content, mode in (
        ("api-key", b"secret", 0o644), ("files/ab/file_1", b"x" * 3_000_000, 0o640), ("files/ab/file_2", b"", 0o600),
    ):  # fmt: skip
        (home / name).write_bytes(content)
        (home / name).chmod(mode)
        os.utime(home / name, (1_700_000_000, 1_700_000_000))
    with writing(target) as writer:
        for name in ("api-key", "files/ab/file_1", "files/ab/file_2"):
            with (home / name).open("rb") as opened:
                writer.add(name, opened)
        writer.add_text("valkey/appendonlydir/appendonly.aof.manifest", "file a seq 1 type b\n")
        writer.finish("0.1.0", 1, "2026-11-26T10:00:00+00:00", None)
    return target.getvalue()


def changed(backup: bytes, change: Change) -> bytes:
    """The archive anew, each member as ``change`` has it."""
    target = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(gzip.decompress(backup))) as old,
        tarfile.open(fileobj=target, mode="w") as new,
    ):
        for member in old:
            content = old.extractfile(member)
            for made, data in change(member, content.read() if content else b""):
                new.addfile(made, io.BytesIO(data))
    return gzip.compress(target.getvalue(), 1)


def with_member(backup: bytes, member: tarfile.TarInfo, data: bytes = b"") -> bytes:
    """The archive with one member more in front."""
    member.size = len(data)
    first = [(member, data)]

    def change(old: tarfile.TarInfo, content: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        made = [*first, (old, content)]
        first.clear()
        return made

    return changed(backup, change)


def unpacked(data: bytes, into: Path) -> Manifest:
    into.mkdir(exist_ok=True)
    return unpack(io.BytesIO(data), into)


def test_what_was_written_comes_out_with_modes_and_times_and_secrets_are_private(
    backup: bytes, tmp_path: Path
) -> None:
    manifest = unpacked(backup, tmp_path / "out")
    assert (manifest.callboard, manifest.schema, manifest.files_url) == ("0.1.0", 1, None)
    assert {name: (part.files, part.bytes) for name, part in manifest.parts.items()} == {
        "secrets": (1, 6), "files": (2, 3_000_000), "ledger": (1, 20), "models": (0, 0),
    }  # fmt: skip
    one = tmp_path / "out" / "files" / "ab" / "file_1"
    assert one.read_bytes() == b"x" * 3_000_000
    assert (stat.S_IMODE(one.stat().st_mode), one.stat().st_mtime) == (0o640, 1_700_000_000)
    assert (tmp_path / "out" / "files" / "ab" / "file_2").read_bytes() == b""
    assert stat.S_IMODE((tmp_path / "out" / "api-key").stat().st_mode) == 0o600
    assert not (tmp_path / "out" / MANIFEST).exists()


@pytest.mark.parametrize(
    "name",
    [
        "../api-key",
        "files/../../x",
        "/etc/passwd",
        "files//x",
        "./api-key",
        "logs/valkey.log",
        "lock",
        ".",
        "",
        "x",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(backup: bytes, tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="no plain file"):
        unpacked(with_member(backup, tarfile.TarInfo(name), b"planted"), tmp_path / "out")
    assert not any(path.read_bytes() == b"planted" for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE],
)
def test_links_devices_and_pipes_are_refused(backup: bytes, tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("files/ab")
    member.type, member.linkname = kind, "/etc"
    with pytest.raises(Refused, match="no plain file"):
        unpacked(with_member(backup, member), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_comes_twice_is_refused(backup: bytes, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="twice"):
        unpacked(with_member(backup, tarfile.TarInfo("api-key"), b"other!"), tmp_path / "out")


def test_one_changed_byte_is_noticed(backup: bytes, tmp_path: Path) -> None:
    def change(member: tarfile.TarInfo, data: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        return [(member, data[:-1] + b"y" if member.name.endswith("file_1") else data)]

    with pytest.raises(Refused, match="damaged in files"):
        unpacked(changed(backup, change), tmp_path / "out")


def test_a_file_that_is_missing_or_more_than_were_counted_is_noticed(backup: bytes, tmp_path: Path) -> None:
    without = changed(backup, lambda member, data: [] if member.name.endswith("file_2") else [(member, data)])
    with pytest.raises(Refused, match="damaged in files"):
        unpacked(without, tmp_path / "out")
    with pytest.raises(Refused, match="damaged in models"):
        unpacked(with_member(backup, tarfile.TarInfo("models/planted.bin"), b"x"), tmp_path / "more")


def test_a_mode_that_was_changed_is_noticed(backup: bytes, tmp_path: Path) -> None:
    def change(member: tarfile.TarInfo, data: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        member.mode |= 0o4001
        return [(member, data)]

    with pytest.raises(Refused, match="damaged"):
        unpacked(changed(backup, change), tmp_path / "out")


def test_what_is_behind_the_manifest_is_refused(backup: bytes, tmp_path: Path) -> None:
    def change(member: tarfile.TarInfo, data: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        more = tarfile.TarInfo("models/late")
        return [(member, data), (more, b"")] if member.name == MANIFEST else [(member, data)]

    with pytest.raises(Refused, match="behind its manifest"):
        unpacked(changed(backup, change), tmp_path / "out")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_one_that_is_cut_short_is_refused(backup: bytes, tmp_path: Path, share: float) -> None:
    with pytest.raises(Refused, match=r"cut short|no manifest"):
        unpacked(backup[: int(len(backup) * share)], tmp_path / "out")


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    for data in (b"", b"PK\x03\x04 something else", gzip.compress(b"no tar"), gzip.compress(b"\0" * 10240)):
        with pytest.raises(Refused):
            unpacked(data, tmp_path / "out")


def test_a_newer_format_is_refused_with_the_callboard_that_made_it(backup: bytes, tmp_path: Path) -> None:
    def change(member: tarfile.TarInfo, data: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        if member.name == MANIFEST:
            data = data.replace(b'"format": 1', b'"format": 2')
            member.size = len(data)
        return [(member, data)]

    with pytest.raises(Refused, match=r"format 2, .* reads format 1.*0\.1\.0"):
        unpacked(changed(backup, change), tmp_path / "out")
