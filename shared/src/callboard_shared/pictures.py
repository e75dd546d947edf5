"""What a picture's bytes tell before it is decoded: its format, its sides, and whether it is whole.

Pure Python, and it reads only what it needs, so that the gateway can judge too. The ``imagesize`` package was looked
at: it tells neither the format nor a truncated file, and it opens URLs and parses SVG.

JPEG: ITU-T T.81, B.1 · PNG: W3C PNG (Third Edition), 5 and 11.2.1 · WebP: RFC 9649 · BMP: BITMAPINFOHEADER
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from callboard_shared.errors import Invalid, RequestError, TooLarge, UnsupportedMedia
from callboard_shared.media_types import HEAD_BYTES, media_type_of
from callboard_shared.settings import Settings

TAKEN = "a JPEG, PNG, WebP or BMP"
_TAIL_BYTES = 64 * 1024
_PIECE_BYTES = 1024 * 1024
_PIECE_CHARS = 4 * 256 * 1024
"""Of base64, decoded at a time: a multiple of four."""
_MOST_SEGMENTS = 2000
"""Before the frame header of a JPEG; an ICC profile of the largest kind takes 255."""
_MOST_FILL = 64
"""Bytes that fill up before a marker: nobody writes more, and looking for its end must not take long."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SCAN, _END = 0xDA, 0xD9


class Content(Protocol):
    """What can be read from any place."""

    def seek(self, offset: int, whence: int = ..., /) -> int: ...
    def read(self, size: int = ..., /) -> bytes: ...


class PictureSettings(Settings):
    """Which pictures are taken: judged before they are decoded, since a small file can be a very large picture."""

    picture_max_pixels: int = Field(
        default=50_000_000,
        gt=0,
        description="Width times height of a picture; decoded it takes three bytes each.",
    )
    picture_max_side: int = Field(default=20_000, gt=0, description="Longer side of a picture in pixels.")
    picture_max_bytes: int = Field(default=64 * 1024**2, gt=0, description="Largest file of a picture.")


@dataclass(frozen=True, slots=True)
class Head:
    """Sides in pixels, as stored (EXIF may turn them); ``channels`` of a JPEG: 1 grey, 3 colours, 4 CMYK; else 0."""

    media_type: str
    width: int
    height: int
    channels: int = 0


class _Cut(Exception):
    """The content ends before the picture does."""


class _Broken(Exception):
    """The content is none that its first bytes promise."""


def judge(content: Content, settings: PictureSettings) -> Head:
    """The picture's head, if it is one that is taken. ``content`` must be seekable; it stands anywhere afterwards.

    Raises UnsupportedMedia (another format, or not whole), Invalid ``image-too-large``, TooLarge."""
    check_size(content, settings)
    head = read_head(content)
    pixels, side = head.width * head.height, max(head.width, head.height)
    if pixels > settings.picture_max_pixels or side > settings.picture_max_side:
        raise Invalid(
            f"The picture has {head.width:,}×{head.height:,} pixels; {settings.picture_max_pixels:,} in all and "
            f"{settings.picture_max_side:,} a side are taken. Make it smaller; for detection it is scaled down anyway.",
            code="image-too-large",
        )
    return head


def check_size(content: Content, settings: PictureSettings) -> None:
    """Raises TooLarge for a picture of too many bytes; reads none of them."""
    size = content.seek(0, os.SEEK_END)
    if size > settings.picture_max_bytes:
        raise TooLarge(f"The picture has {size:,} bytes; {settings.picture_max_bytes:,} are taken.")


def read_head(content: Content) -> Head:
    """Raises UnsupportedMedia: ``unsupported-media-type`` for another format, ``image-damaged`` for one that is not
    whole."""
    content.seek(0)
    start = content.read(HEAD_BYTES)
    reader = next((read for signature, read in _READERS if start.startswith(signature)), None)
    if reader is None or (reader is _webp and start[8:12] != b"WEBP"):
        found = media_type_of(start) if start else "empty"
        raise UnsupportedMedia(f"The picture is {found}; give {TAKEN}.")
    try:
        head = reader(content)
    except _Cut:
        raise damaged("it ends before the picture does") from None
    except (_Broken, struct.error) as error:
        raise damaged(str(error)) from None
    if head.width < 1 or head.height < 1:
        raise damaged(f"it says that it has {head.width}×{head.height} pixels")
    return head


def damaged(why: str) -> UnsupportedMedia:
    return UnsupportedMedia(
        f"The picture is damaged: {why}. Send the whole file again.", code="image-damaged"
    )


def about(error: RequestError, field: str) -> RequestError:
    """The same error, saying which field of the input it is about."""
    fault = {"field": field, "message": error.detail, "code": error.problem_code}
    return type(error)(error.detail, code=error.problem_code, errors=[fault])


class Base64Content:
    """What a base64 text holds, decoded where it is read. Raises Invalid ``invalid-base64`` there."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._size = len(text) * 3 // 4 - (text.endswith("=") + text.endswith("=="))
        self._at = 0

    def check(self) -> None:
        """Raises Invalid ``invalid-base64`` where anything of it, read or not, is no base64 (RFC 4648, 4)."""
        padding = self._text.find("=")
        if 0 <= padding < len(self._text) - 2:
            raise _no_base64("there is something behind its padding")
        for start in range(0, len(self._text), _PIECE_CHARS):
            _decoded(self._text[start : start + _PIECE_CHARS])

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._at + size, self._size)
        if end <= self._at:
            return b""
        first = self._at // 3
        data = _decoded(self._text[first * 4 : -(-end // 3) * 4])
        data = data[self._at - first * 3 : end - first * 3]
        self._at += len(data)
        return data


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # binascii.Error is one; a text that is not ASCII raises another
        raise _no_base64(str(error)) from None


def _no_base64(why: str) -> Invalid:
    return Invalid(
        f"The base64 cannot be decoded: {why}. Give the bytes alone, without 'data:…,' before them and without line "
        "breaks.",
        code="invalid-base64",
    )


# --- the formats ---


def _jpeg(content: Content) -> Head:
    at = 2
    for _ in range(_MOST_SEGMENTS):
        marker, at = _marker(content, at)
        if marker in _STANDALONE:
            continue
        if marker in (_SCAN, _END):
            raise _Broken("its data begin before it says how large it is")
        length = int.from_bytes(_exactly(content, at, 2), "big")
        if length < 2:
            raise _Broken("a segment of it has no length")
        if marker in _FRAMES:
            _, height, width, channels = struct.unpack(">BHHB", _exactly(content, at + 2, 6))
            _find_end(content, at + length, _JPEG_END)
            return Head("image/jpeg", width, height, channels)
        at += length
    raise _Broken("it has too many segments")


def _marker(content: Content, at: int) -> tuple[int, int]:
    """The marker at a place, and where it ends; FF may stand before it, to fill up."""
    content.seek(at)
    given = content.read(_MOST_FILL + 2)
    marker = given.lstrip(b"\xff")
    if given and not given.startswith(b"\xff"):
        raise _Broken("there is no segment where one should begin")
    if not marker:
        raise _Broken("it is filled up with nothing") if len(given) > _MOST_FILL else _Cut
    return marker[0], at + len(given) - len(marker) + 1


def _png(content: Content) -> Head:
    if _exactly(content, 8, 8) != b"\0\0\0\rIHDR":
        raise _Broken("it does not begin with a header")
    width, height = struct.unpack(">II", _exactly(content, 16, 8))
    _find_end(content, 33, _PNG_END)
    return Head("image/png", width, height)


def _webp(content: Content) -> Head:
    size = int.from_bytes(_exactly(content, 4, 4), "little")
    kind, frame = _exactly(content, 12, 4), _exactly(content, 20, 10)
    if content.seek(0, os.SEEK_END) < size + 8 - size % 2:  # a pad byte at the end is often left out
        raise _Cut
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(frame[at : at + 3], "little") for at in (4, 7))
        return Head("image/webp", width, height)
    if kind == b"VP8L" and frame[0] == 0x2F:
        bits = int.from_bytes(frame[1:5], "little")
        return Head("image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 " and frame[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", frame[6:10])
        return Head("image/webp", width & 0x3FFF, height & 0x3FFF)
    raise _Broken("it does not begin with a frame")


def _bmp(content: Content) -> Head:
    start, header = struct.unpack("<II", _exactly(content, 10, 8))
    compression = 0
    if header == 12:
        width, height, _, bits = struct.unpack("<HHHH", _exactly(content, 18, 8))
    elif header >= 40:
        width, height, _, bits, compression = struct.unpack("<iiHHI", _exactly(content, 18, 16))
    else:
        raise _Broken("its header is of no known kind")
    plain = compression in (0, 3, 6)  # the length of what is run-length encoded nobody knows before
    if plain and content.seek(0, os.SEEK_END) < start + (bits * width + 31) // 32 * 4 * abs(height):
        raise _Cut
    return Head("image/bmp", width, abs(height))


_READERS: tuple[tuple[bytes, Callable[[Content], Head]], ...] = (
    (b"\xff\xd8\xff", _jpeg),
    (_PNG, _png),
    (b"RIFF", _webp),
    (b"BM", _bmp),
)


def _exactly(content: Content, at: int, size: int) -> bytes:
    content.seek(at)
    data = content.read(size)
    if len(data) < size:
        raise _Cut
    return data


def _find_end(content: Content, after: int, mark: bytes) -> None:
    """Raises _Cut if the mark is nowhere after a place. It is usually at the very end; some cameras append more."""
    size = content.seek(0, os.SEEK_END)
    content.seek(max(after, size - _TAIL_BYTES))
    if mark in content.read(_TAIL_BYTES):
        return
    content.seek(after)
    before = b""
    while piece := content.read(_PIECE_BYTES):
        if mark in before + piece:
            return
        before = piece[-len(mark) :]
    raise _Cut
