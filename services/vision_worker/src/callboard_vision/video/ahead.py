"""Lets what reads run ahead of what computes, so that neither waits for the other without need."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")

_CHECK_S = 0.1


class Ahead(Generic[T]):
    """Runs an iterator in a thread, at most ``most`` items ahead. Leaving the ``with`` block ends the thread, at the
    next item."""

    def __init__(self, items: Iterator[T], most: int) -> None:
        self._items, self._most = items, most
        self._ready: list[T] = []
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)

    def parts(self, check: Callable[[], None]) -> Iterator[list[T]]:
        """What is ready, 1…most items, again and again; raises what the iterator raises, after its last item.
        ``check`` is called while waiting, and may raise."""
        while True:
            with self._changed:
                while not self._ready and not self._ended:
                    self._changed.wait(_CHECK_S)
                    check()
                part, self._ready = self._ready, []
                self._changed.notify_all()
            if part:
                yield part
            elif self._error is not None:
                raise self._error
            else:
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, item: T) -> bool:
        """Whether to go on."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._ready) < self._most or self._closed)
            self._ready.append(item)
            self._changed.notify_all()
            return not self._closed
