"""Walking a list page by page, without I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from callboard_client._models import Page
from callboard_client._wire import Call

T = TypeVar("T")

PAGE = 100


class Pages(Generic[T]):
    """``ask(limit, cursor)`` makes the call for one page; at most ``limit`` things are taken in all."""

    def __init__(self, ask: Callable[[int, str | None], Call[Page[T]]], limit: int | None) -> None:
        self._ask = ask
        self._left = limit
        self._cursor: str | None = None
        self.done = limit is not None and limit <= 0

    def call(self) -> Call[Page[T]]:
        return self._ask(PAGE if self._left is None else min(self._left, PAGE), self._cursor)

    def take(self, page: Page[T]) -> list[T]:
        items = page.data[: self._left]
        if self._left is not None:
            self._left -= len(items)
        self._cursor = page.next_cursor
        self.done = self._cursor is None or self._left == 0
        return items
