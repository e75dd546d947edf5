"""What an ONNX file says of itself, read without any library: the gateway asks too, and the weights are skipped.

An ONNX file is one protocol buffer message (https://protobuf.dev/programming-guides/encoding/) of type ModelProto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), whose field 14 holds texts by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_METADATA, _KEY, _VALUE = 14, 1, 2
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_MOST_BYTES = 1 << 20
"""Of one text; a longer one is none of ultralytics'."""


def metadata(path: Path) -> dict[str, str]:
    """The texts by name. Raises ValueError for a file that is no ONNX model, OSError for one that cannot be read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        return dict(_entry(entry) for entry in _fields(file, size, wanted=_METADATA))


def _entry(data: bytes) -> tuple[str, str]:
    texts = {}
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        length, at = _number(data, at)
        if key & 7 != _BYTES or at + length > len(data):
            raise ValueError("its metadata is damaged")
        texts[key >> 3] = data[at : at + length].decode("utf-8", "replace")
        at += length
    return texts.get(_KEY, ""), texts.get(_VALUE, "")


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at, value, shift = at + 1, value | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("it ends within a number")


def _fields(file: BinaryIO, size: int, *, wanted: int) -> Iterator[bytes]:
    """The content of each field of that number; the others are passed over."""
    if size == 0:
        raise ValueError("it is empty")
    while file.tell() < size:
        key = _read_number(file)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError("it is no ONNX model")
        if kind == _VARINT:
            _read_number(file)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            file.seek(8 if kind == _EIGHT_BYTES else 4, 1)
        elif kind == _BYTES:
            length = _read_number(file)
            if file.tell() + length > size:
                raise ValueError("it is no ONNX model, or it is cut off")
            if number == wanted and length <= _MOST_BYTES:
                yield file.read(length)
            else:
                file.seek(length, 1)
        else:
            raise ValueError("it is no ONNX model")


def _read_number(file: BinaryIO) -> int:
    value = shift = 0
    while shift < 64:
        byte = file.read(1)
        if not byte:
            break
        value, shift = value | (byte[0] & 0x7F) << shift, shift + 7
        if byte[0] < 0x80:
            return value
    raise ValueError("it is no ONNX model, or it is cut off")
