"""Reading ``multipart/form-data`` as it arrives, so that a file of any size passes through in pieces.

Starlette's own form parser spools every part to a temporary file first; here the caller decides where the
bytes go. Grammar: RFC 7578; names as browsers write them (WHATWG HTML, "multipart form data").
"""

from __future__ import annotations

from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from callboard_shared.errors import Malformed, UnsupportedMedia

_MAX_BOUNDARY = 256
_BROWSER_ESCAPES = (("%0D", "\r"), ("%0d", "\r"), ("%0A", "\n"), ("%0a", "\n"), ("%22", '"'))


@dataclass(frozen=True, slots=True)
class PartBegin:
    """``filename`` is ``None`` for a plain field."""

    name: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class PartData:
    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    pass


Event = PartBegin | PartData | PartEnd


def boundary_of(content_type: str | None) -> bytes:
    """The boundary that the Content-Type names. Raises ``UnsupportedMedia`` or ``Malformed``."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise UnsupportedMedia("Send the file as multipart/form-data, in a part named 'file'.")
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= _MAX_BOUNDARY:
        raise Malformed("The Content-Type names no usable multipart boundary.")
    return boundary


class FormReader:
    """Turns chunks of a body into events. Raises ``Malformed`` where the grammar is broken."""

    def __init__(self, boundary: bytes) -> None:
        self._events: list[Event] = []
        self._disposition = b""
        self._field = b""
        self._value = b""
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_part_data": self._on_part_data,
                "on_part_end": lambda: self._events.append(PartEnd()),
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_end": self._on_end,
            },
        )

    def feed(self, chunk: bytes) -> list[Event]:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise Malformed(f"The multipart body is broken: {error}.") from None
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Say that the body is over; a body without its last boundary was cut off."""
        if not self._ended:
            raise Malformed("The multipart body ends before its last boundary.")

    def _on_part_begin(self) -> None:
        self._disposition = self._field = self._value = b""

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(PartData(bytes(data[start:end])))

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise Malformed("A part of the multipart body has no name.")
        filename = options.get(b"filename")
        self._events.append(
            PartBegin(_decode(options[b"name"]), None if filename is None else _unescape(_decode(filename)))
        )

    def _on_end(self) -> None:
        self._ended = True


def _decode(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _unescape(name: str) -> str:
    for escape, character in _BROWSER_ESCAPES:
        name = name.replace(escape, character)
    return name
