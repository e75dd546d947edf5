"""Where rows are, and how those that are wrong are told of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

_NAMED = 10

Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Source:
    """Rows that can be read more than once, so that none need be kept.

    what: the input's field, for messages; read: raw values by row, such as (text, label); names: of the labels, if
    they are numbers
    """

    what: str
    read: Callable[[], Iterable[tuple[Any, ...]]]
    names: list[str] | None = None


class Numbers:
    """How many rows, and the first ten of them."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[int] = []

    def add(self, number: int) -> None:
        self.count += 1
        if self.count <= _NAMED:
            self._first.append(number)

    def told(self, what: str) -> str:
        numbers = ", ".join(map(str, self._first)) + (", …" if self.count > _NAMED else "")
        some = f"{self.count} rows have" if self.count > 1 else "a row has"
        return f"{some} no {what}: row {numbers} (the first row of data is row 1)."


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
