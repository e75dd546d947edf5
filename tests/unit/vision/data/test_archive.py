"""The zip of a data set: its tricks are found out before, or at the latest while, it is read."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zips import SMALL, a_zip, changing, detecting, faults, picture, prepared

from callboard_shared.errors import FinalError
from callboard_vision.data.archive import Archive, Limits, Unreadable
from callboard_vision.data.faults import Faults


def opened(content: io.BytesIO, limits: Limits | None = None) -> Archive:
    return Archive(content, Faults(), limits)


def refusals(content: io.BytesIO, limits: Limits | None = None) -> list[tuple[str | None, str]]:
    with pytest.raises(FinalError) as refused:
        opened(content, limits)
    assert refused.value.problem_code == "dataset-invalid"
    return [(one.get("file"), one["message"]) for one in refused.value.errors or []]


def with_entry(info: zipfile.ZipInfo, data: bytes = b"x") -> io.BytesIO:
    content = a_zip({"data.yaml": "names: [a]"})
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr(info, data)
    return content


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../outside.txt", "leads out"), ("images/../../outside.txt", "leads out"), ("images\\..\\..\\x", "leads out"),
        ("..", "leads out"), ("/etc/passwd", "absolute"), ("\\\\server\\share", "absolute"), ("C:\\x.txt", "absolute"),
        ("c:/x.txt", "absolute"), ("a\nb.txt", "control"), ("a\x1b[31m.txt", "control"), ("./", "empty"),
        ("x" * 2000, "too long"),
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_refused(name: str, says: str) -> None:
    ((_, message),) = refusals(with_entry(zipfile.ZipInfo(name)))
    assert says in message


def test_a_zero_byte_in_a_name_hides_nothing() -> None:
    content = with_entry(zipfile.ZipInfo("images/okay.png_.sh"))
    content = io.BytesIO(content.getvalue().replace(b"okay.png_.sh", b"okay.png\0.sh"))
    ((file, message),) = refusals(content)
    assert "control" in message and file == r"images/okay.png\x00.sh"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    parts=st.lists(
        st.one_of(
            st.sampled_from(
                ["..", ".", "", "C:", "con", "images", "labels", "train", "a.png", "a.txt", "data.yaml", "~"]
            ),
            st.text(min_size=1, max_size=8),
        ),
        min_size=1,
        max_size=5,
    ),
    separator=st.sampled_from(["/", "\\", "//", "/./"]),
    absolute=st.booleans(),
)
def test_whatever_a_name_is_it_is_refused_or_stays_within(
    parts: list[str], separator: str, absolute: bool, tmp_path: Path
) -> None:
    name = (separator if absolute else "") + separator.join(parts)
    try:
        content = with_entry(zipfile.ZipInfo(name), picture())
    except (ValueError, UnicodeEncodeError):
        return  # nobody can write such a zip
    try:
        paths = opened(content).paths
    except FinalError:
        return
    for path in paths:
        assert path and not path.startswith("/") and "\\" not in path and "\0" not in path
        assert not {"", ".", ".."} & set(path.split("/"))
        assert (tmp_path / path).resolve().is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(kind: int) -> None:
    info = zipfile.ZipInfo("images/train/a.png")
    info.external_attr = (kind | 0o777) << 16
    assert refusals(with_entry(info, b"/etc/passwd")) == [
        ("images/train/a.png", "It is a link or a device. Pack the files themselves (zip without -y).")
    ]


def patched(content: io.BytesIO, name: bytes, offset: int, value: bytes) -> io.BytesIO:
    """The zip with bytes of the directory's entry of ``name`` changed, from ``offset`` in it."""
    data = bytearray(content.getvalue())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(name)) + offset
    data[at : at + len(value)] = value
    return io.BytesIO(bytes(data))


def test_encrypted_files_are_refused() -> None:
    content = patched(a_zip(detecting()), b"images/val/c.png", 8, struct.pack("<H", 1))
    ((file, message),) = refusals(content)
    assert file == "images/val/c.png" and "without a password" in message


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_methods_whose_cost_is_not_known_before_are_refused(method: int) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        archive.writestr("data.yaml", "names: [a]" * 20)
    ((file, message),) = refusals(content)
    assert file == "data.yaml" and "deflate" in message


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused() -> None:
    twice = a_zip(detecting())
    with zipfile.ZipFile(twice, "a") as archive:
        archive.writestr("./labels//train/a.txt", "1 0.5 0.5 1 1")
    assert refusals(twice) == [("labels/train/a.txt", "The zip holds two files of this name.")]


def test_a_bomb_is_judged_by_its_directory(tmp_path: Path) -> None:
    bomb = a_zip({"images/train/a.png": bytes(90_000)})
    ((file, message),) = refusals(bomb, SMALL)
    assert file == "images/train/a.png" and "zip bombs" in message


def test_a_zip_that_is_too_large_unpacked_is_refused_before_it_is_unpacked() -> None:
    noise = bytes(range(256)) * 350
    many = a_zip({f"images/{number}.png": noise + bytes([number]) for number in range(3)})
    assert any("Unpacked" in message for _, message in refusals(many, Limits(total_bytes=200_000)))


def test_too_many_files_and_too_large_a_directory_are_refused() -> None:
    assert "at most 20" in refusals(a_zip({f"{number}": b"" for number in range(21)}), SMALL)[0][1]
    long_names = a_zip({"n" * 900 + str(number): b"" for number in range(6)})
    assert "directory is too large" in refusals(long_names, SMALL)[0][1]


def test_a_file_that_is_larger_than_the_directory_says_is_not_read() -> None:
    honest = a_zip({"images/a.png": bytes(range(256)) * 100})
    lying = patched(honest, b"images/a.png", 24, struct.pack("<I", 100))
    archive = opened(lying)
    with pytest.raises(Unreadable):
        archive.read("images/a.png")


def test_a_file_is_held_to_its_own_limit() -> None:
    archive = opened(a_zip({"a.txt": b"x" * 1000}))
    with pytest.raises(Unreadable, match="at most 999"):
        archive.read("a.txt", 999)
    assert archive.read("a.txt", 1000) == b"x" * 1000


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    content = a_zip(detecting())
    data = bytearray(content.getvalue())
    at = data.index(b"images/train/b.png") + len(b"images/train/b.png")
    data[at + 4 : at + 12] = b"\xff" * 8
    (fault,) = faults(io.BytesIO(bytes(data)), tmp_path)
    assert fault["file"] == "images/train/b.png" and "cannot be unpacked" in fault["message"]


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"PK\x03\x04", b"PK\x05\x06" + bytes(10), b"\x1f\x8b\x08"])
def test_what_is_no_zip_is_told(data: bytes) -> None:
    ((_, message),) = refusals(io.BytesIO(data))
    assert "no zip" in message or "cannot be read" in message


def test_archives_within_are_left_unopened_and_files_of_systems_are_passed_over(tmp_path: Path) -> None:
    beside = {
        "__MACOSX/images/train/._a.png": b"\0\5", "images/train/.DS_Store": b"x", "labels/train/Thumbs.db": b"x",
        "more.zip": a_zip({"images/train/z.png": picture()}).getvalue(), "notes.md": "thanks",
    }  # fmt: skip
    made = prepared(changing(detecting(), beside), tmp_path)
    assert made.train_images == 2
    assert made.warnings == ("1 archives within the zip were left unopened: more.zip.",)
