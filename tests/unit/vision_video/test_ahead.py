"""What reads runs ahead of what computes, and not too far."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from callboard_vision.video.ahead import Ahead

SECONDS = 20


def nothing() -> None:
    pass


def test_everything_comes_once_and_in_order() -> None:
    with Ahead(iter(range(1000)), 8) as ahead:
        parts = list(ahead.parts(nothing))
    assert [item for part in parts for item in part] == list(range(1000))
    assert all(1 <= len(part) <= 8 for part in parts)


def test_it_reads_on_meanwhile_but_only_so_far() -> None:
    taken, full = [], threading.Event()

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            if item == 4:  # the fifth waits for room
                full.set()
            yield item

    with Ahead(items(), 4) as ahead:
        assert full.wait(SECONDS)
        assert next(ahead.parts(nothing)) == [0, 1, 2, 3]
    assert len(taken) <= 4 + 4 + 1


def test_an_error_comes_after_what_was_read() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("torn")

    got: list[int] = []
    with Ahead(items(), 8) as ahead, pytest.raises(ValueError, match="torn"):
        got.extend(item for part in ahead.parts(nothing) for item in part)
    assert got == [1, 2]


def test_who_waits_is_asked_whether_to_go_on() -> None:
    stuck = threading.Event()

    def items() -> Iterator[int]:
        assert stuck.wait(SECONDS)
        yield 1

    def stop() -> None:
        stuck.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Ahead(items(), 8) as ahead:
        next(ahead.parts(stop))


def test_leaving_ends_the_thread() -> None:
    before = threading.active_count()
    with Ahead(iter(range(10**9)), 4) as ahead:
        next(ahead.parts(nothing))
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
