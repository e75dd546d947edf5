"""Pictures of a batch, read in threads while the network is at work with those before them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

from callboard_shared.errors import CallboardError
from callboard_vision.pictures import Picture

PART = 16
"""Pictures that go through the network together, at most."""
FIRST = 4
"""In the first part, where nobody knows how long a picture takes."""
PART_S = 1.0
"""What a part should take: between two of them a cancel is heard."""
PART_PIXELS = 64_000_000
"""A part is full with so many: 200 MB. About as much again is read ahead."""

T = TypeVar("T")
Read = Callable[[T], Picture]


class Pace:
    """How long a picture takes a model at a size, as it was the last time."""

    def __init__(self) -> None:
        self._seconds: dict[Hashable, float] = {}

    def part(self, what: Hashable) -> int:
        """So many pictures together."""
        seconds = self._seconds.get(what)
        return FIRST if seconds is None else max(1, min(PART, int(PART_S / max(seconds, 1e-6))))

    def took(self, what: Hashable, pictures: int, seconds: float) -> None:
        self._seconds[what] = seconds / pictures


class Parts(Generic[T]):
    """Iterates over ``wanted`` in parts, in order, each with its picture, or with what is wrong with it; those that
    nobody wants any more by the time their turn comes are left out. ``most``: pictures of the next part.

    Reading goes on in ``threads`` of the pool while there is room for what is read; leaving the ``with`` block ends it.
    """

    def __init__(
        self,
        wanted: Sequence[T],
        read: Read[T],
        is_wanted: Callable[[T], bool],
        pool: Executor,
        threads: int,
        most: Callable[[], int] = lambda: PART,
    ) -> None:
        self._rest = deque(wanted)
        self._read, self._is_wanted, self._pool, self._threads = read, is_wanted, pool, threads
        self._most = most
        self._ahead: deque[tuple[T, Future[Picture | CallboardError]]] = deque()
        self._lock = threading.RLock()

    def __enter__(self) -> Parts[T]:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._rest.clear()

    def __iter__(self) -> Iterator[list[tuple[T, Picture | CallboardError]]]:
        self._read_on()
        while self._ahead:
            part: list[tuple[T, Picture | CallboardError]] = []
            pixels, most = 0, self._most()
            while self._ahead and len(part) < most and pixels < PART_PIXELS:
                found = self._ahead[0][1].result()
                with self._lock:
                    part.append((self._ahead.popleft()[0], found))
                pixels += _pixels(found)
                self._read_on()
            yield part

    def _read_on(self, _: object = None) -> None:
        """Called when a picture was read, and when one was taken."""
        with self._lock:
            done = [future.result() for _, future in self._ahead if future.done()]
            under_way = len(self._ahead) - len(done)
            full = len(done) >= PART or sum(map(_pixels, done)) >= PART_PIXELS
            while self._rest and under_way < self._threads and (not full or not self._ahead):
                one = self._rest.popleft()
                if self._is_wanted(one):
                    future = self._pool.submit(self._read_one, one)
                    self._ahead.append((one, future))
                    under_way += 1
                    future.add_done_callback(self._read_on)

    def _read_one(self, one: T) -> Picture | CallboardError:
        try:
            return self._read(one)
        except CallboardError as error:  # one bad picture is not the others' fault
            return error


def _pixels(found: Picture | CallboardError) -> int:
    return found.width * found.height if isinstance(found, Picture) else 0
