"""The lines of a batch's file, one at a time, and sets of line numbers as short texts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

MOST_LINE_BYTES = 8_000_000
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """number: from 1; text: without its end, None where it is longer than a line may be; offset: of the next line."""

    number: int
    text: bytes | None
    offset: int

    @property
    def is_blank(self) -> bool:
        return self.text is not None and (not self.text or self.text.isspace())


def lines_of(content: BinaryIO, number: int = 0, offset: int = 0) -> Iterator[Line]:
    """The lines after line ``number``, the first of which begins at ``offset``. No more than one is held in memory."""
    content.seek(offset)
    while text := content.readline(MOST_LINE_BYTES + 2):
        number += 1
        offset += len(text)
        whole = text.endswith(b"\n") or len(text) < MOST_LINE_BYTES + 2
        while not whole:
            rest = content.readline(MOST_LINE_BYTES)
            offset += len(rest)
            whole = not rest or rest.endswith(b"\n")
            text = b""
        yield Line(number, text.removeprefix(_BOM) if number == 1 and text else text or None, offset)


class LineNumbers:
    """A set of line numbers, written as "3-7,9"; the empty text is all lines."""

    def __init__(self, text: str) -> None:
        pairs = [part.partition("-") for part in text.split(",")] if text else []
        self._first = [int(first) for first, _, _ in pairs]
        self._last = [int(last or first) for first, _, last in pairs]

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._first, number) - 1
        return not self._first or (at >= 0 and number <= self._last[at])

    @staticmethod
    def written(numbers: Iterable[int]) -> str:
        """``numbers``: ascending."""
        parts: list[list[int]] = []
        for number in numbers:
            if parts and parts[-1][1] == number - 1:
                parts[-1][1] = number
            else:
                parts.append([number, number])
        return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in parts)
