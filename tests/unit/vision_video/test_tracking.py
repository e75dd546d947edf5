"""The trackers, fed with findings that are known."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from callboard_vision.engines.interface import Findings, Pixels
from callboard_vision.engines.tracking import Tracker

BLANK: Pixels = np.zeros((480, 640, 3), np.uint8)
Make = Callable[[Any, float, float], Tracker]
Box = tuple[float, float, float, float]


def findings(boxes: Sequence[Box], confidences: Sequence[float] | None = None) -> Findings:
    count = len(boxes)
    sure = np.array([0.9] * count if confidences is None else confidences, np.float32)
    return Findings(np.array(boxes, np.float32).reshape(-1, 4), sure, np.zeros(count, np.int64))


def square(x: float, y: float = 200, size: float = 60) -> Box:
    return (x, y, x + size, y + size)


@pytest.fixture
def tracker(tmp_path: Path) -> Make:
    """Makes a tracker of a kind, of a confidence and a rate."""
    return partial(Tracker, cache=tmp_path)


def ids(tracker: Tracker, frames: Iterable[Findings], picture: Pixels = BLANK) -> list[dict[int, int]]:
    """By frame: the index of each track's finding."""
    return [
        {sighting.track_id: sighting.index for sighting in tracker.update(found, picture)} for found in frames
    ]


kinds = pytest.mark.parametrize("kind", ["bytetrack", "botsort"])


@kinds
def test_things_keep_their_numbers_in_whatever_order_they_are_found(kind: str, tracker: Make) -> None:
    def frame(n: int) -> Findings:
        both = [square(10 + 10 * n, 100), square(500 - 10 * n, 300)]
        return findings(both if n % 2 == 0 else both[::-1])

    found = ids(tracker(kind, 0.25, 30), map(frame, range(20)))
    assert found == [{1: 0, 2: 1} if n % 2 == 0 else {1: 1, 2: 0} for n in range(20)]


@kinds
def test_what_is_weak_goes_on_and_does_not_begin(kind: str, tracker: Make) -> None:
    frames = [findings([square(10 + 5 * n)], [0.5 if n != 3 else 0.3]) for n in range(6)]
    assert ids(tracker(kind, 0.5, 30), frames) == [{1: 0}] * 6
    weak = [findings([square(10 + 5 * n)], [0.4]) for n in range(6)]
    assert ids(tracker(kind, 0.5, 30), weak) == [{}] * 6


@pytest.mark.parametrize(
    ("rate", "gap", "same"), [(30, 20, True), (30, 40, False), (5, 4, True), (5, 8, False)]
)
def test_what_was_hidden_for_less_than_a_second_is_known_again(
    rate: float, gap: int, same: bool, tracker: Make
) -> None:
    there, away = findings([square(200)]), findings([])
    found = ids(tracker("bytetrack", 0.25, rate), [there] * 5 + [away] * gap + [there] * 3)
    assert found[-1] == ({1: 0} if same else {2: 0})


def test_a_false_finding_later_on_is_not_told(tracker: Make) -> None:
    frames = [findings([square(10)]) for _ in range(10)]
    frames[5] = findings([square(10), square(400, 300)])
    assert ids(tracker("bytetrack", 0.25, 30), frames) == [{1: 0}] * 10


def test_botsort_follows_while_the_camera_moves(tracker: Make) -> None:
    """Still things before a camera that begins to move so fast that their boxes no longer overlap."""
    random = np.random.default_rng(3)
    wall = cv2.resize(random.integers(0, 255, (60, 200, 3), np.uint8), (2000, 600))
    shifts = [0, 0, 0] + [40 * n for n in range(1, 12)]

    def last(kind: str) -> dict[int, int]:
        made = tracker(kind, 0.25, 30)
        for shift in shifts:
            boxes = [square(700 - shift, 100, 24), square(780 - shift, 300, 24)]
            picture = np.ascontiguousarray(wall[:480, shift + 200 : shift + 840])
            (seen,) = ids(made, [findings(boxes)], picture)
        return seen

    assert last("botsort") == {1: 0, 2: 1}
    assert last("bytetrack") != {1: 0, 2: 1}


@kinds
def test_nothing_and_boxes_without_a_size_are_no_trouble(kind: str, tracker: Make) -> None:
    empty = [findings([])] * 3 + [findings([(5, 5, 5, 5)])] * 3
    assert ids(tracker(kind, 0.0, 0.1), empty) == [{}] * 6


def test_what_follows_leaves_the_reading_of_pictures_alone(tracker: Make) -> None:
    tracker("bytetrack", 0.25, 30)
    with pytest.raises(Image.UnidentifiedImageError):  # ultralytics' own would look for a package to install
        Image.open(io.BytesIO(b"no picture"))
