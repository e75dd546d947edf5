"""What a content is, judged by its bytes; its name is asked only which kind of text a text is.

Signatures come from the ``filetype`` package (MIT; chosen over puremagic, which takes every ZIP for a Word
document and three-letter words for pictures), with those of machine-learning files added.
"""

from __future__ import annotations

import codecs
import json
import re

import filetype  # type: ignore[import-untyped]

HEAD_BYTES = 8192
BINARY = "application/octet-stream"

_BY_SUFFIX = {
    "json": "application/json",
    "jsonl": "application/jsonl",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "md": "text/markdown",
    "txt": "text/plain",
}
_ALIASES = {
    "audio/x-wav": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-aiff": "audio/aiff",
    "audio/x-m4a": "audio/mp4",
    "video/x-m4v": "video/mp4",
    "application/x-msdownload": "application/vnd.microsoft.portable-executable",
}
_MORE_SIGNATURES = (
    (b"PAR1", "application/vnd.apache.parquet"),
    (b"GGUF", "application/x-gguf"),
    (b"\x93NUMPY", "application/x-npy"),
    (b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
    (b"SIMPLE  =", "image/fits"),
)
_MARKUP = (
    (re.compile(rb"<svg[\s>]", re.IGNORECASE), "image/svg+xml"),
    (re.compile(rb"<!doctype\s+html|<html[\s>]|<(?:script|body|iframe)[\s>]", re.IGNORECASE), "text/html"),
    (re.compile(rb"^\s*<\?xml\s", re.IGNORECASE), "application/xml"),
)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


class Sniffer:
    """Fed with a content as it passes by; holds its first 8 KiB and whether all of it is UTF-8 text."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._decoder: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")()

    def feed(self, chunk: bytes) -> None:
        if (missing := HEAD_BYTES - len(self._head)) > 0:
            self._head += chunk[:missing]
        if self._decoder is not None:
            try:
                self._decoder.decode(chunk)
            except UnicodeDecodeError:
                self._decoder = None

    def media_type(self, name: str) -> str:
        """The media type, without parameters; ``application/octet-stream`` where nothing is known."""
        head = bytes(self._head)
        if not head:
            return BINARY
        if self._is_text(head):
            return _text_type(head, name)
        return _binary_type(head)

    def _is_text(self, head: bytes) -> bool:
        if self._decoder is None or _CONTROL.search(head):
            return False
        try:
            self._decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
        return not head.startswith(b"%PDF-")


def media_type_of(data: bytes, name: str = "") -> str:
    """The media type of a content that is in memory."""
    sniffer = Sniffer()
    sniffer.feed(data)
    return sniffer.media_type(name)


def _text_type(head: bytes, name: str) -> str:
    for pattern, media_type in _MARKUP:
        if pattern.search(head[:1024]):
            return media_type
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    return _BY_SUFFIX.get(suffix, "text/plain")


def _binary_type(head: bytes) -> str:
    for signature, media_type in _MORE_SIGNATURES:
        if head.startswith(signature):
            return media_type
    if _is_safetensors(head):
        return "application/x-safetensors"
    kind = filetype.guess_mime(head)
    return _ALIASES.get(kind, kind) if isinstance(kind, str) else BINARY


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes of length, then a JSON object (https://huggingface.co/docs/safetensors, "Format")."""
    length = int.from_bytes(head[:8], "little")
    if not 2 <= length <= 100_000_000 or head[8:10] not in (b'{"', b"{}"):
        return False
    if 8 + length > len(head):
        return True
    try:
        return isinstance(json.loads(head[8 : 8 + length]), dict)
    except ValueError:
        return False
