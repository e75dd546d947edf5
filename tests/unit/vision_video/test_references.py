"""A movie may say that its pictures lie in another file (QuickTime's data references). Nothing follows that."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from some_videos import Encode, corners

from callboard_shared.errors import FinalError
from callboard_vision.video import reading

DREF = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref")


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    while start < end:
        size, kind = struct.unpack(">I4s", data[start : start + 8])
        yield start, size, kind
        start += size


def places(data: bytes, start: int, end: int, path: tuple[bytes, ...]) -> list[int]:
    """Where the boxes of the path begin."""
    at, size = next((at, size) for at, size, kind in boxes(data, start, end) if kind == path[0])
    return [at] if len(path) == 1 else [at, *places(data, at + 8, at + size, path[1:])]


def alias(path: Path) -> bytes:
    """A Macintosh alias record of a file, as a data reference."""

    def record(kind: int, content: bytes) -> bytes:
        return struct.pack(">hH", kind, len(content)) + content + b"\0" * (len(content) % 2)

    whole, name = str(path).encode(), path.name.encode()
    payload = struct.pack(">10xB27s12xB63s16xhh16x", 1, b"v", len(name), name, 1, 1)
    payload += record(2, whole) + record(18, whole) + struct.pack(">hH", -1, 0)
    return struct.pack(">I4sI", 12 + len(payload), b"alis", 0) + payload


def referring(movie: bytes, entry: bytes) -> bytes:
    """The movie, whose index is at its end, with its only data reference replaced."""
    found = places(movie, 0, len(movie), DREF)
    start, changed = found[-1], bytearray(movie)
    old = struct.unpack(">I", movie[start : start + 4])[0]
    changed[start : start + old] = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    for at in found[:-1]:
        size = struct.unpack(">I", movie[at : at + 4])[0]
        changed[at : at + 4] = struct.pack(">I", size + 16 + len(entry) - old)
    return bytes(changed)


def test_a_reference_to_another_file_opens_nothing(
    encode: Encode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = encode("secret.mov", [corners()] * 5)
    movie = referring(encode("own.mov", [corners()] * 5).read_bytes(), alias(secret))
    asked: list[str] = []

    def recorded(url: str, flags: int, options: dict[str, str]) -> None:
        asked.append(url)
        raise PermissionError

    with pytest.raises(PermissionError):  # the movie is as meant: where references are on, it is followed
        av.open(io.BytesIO(movie), "r", format="mov", options={"enable_drefs": "1"}, io_open=recorded)
    assert asked == ["secret.mov"]
    asked.clear()
    monkeypatch.setattr(reading, "_refused", recorded)
    with pytest.raises(FinalError) as caught, reading.open_video(io.BytesIO(movie), 1, 10_000_000):
        pass
    assert caught.value.problem_code == "video-damaged"
    assert asked == []
