"""What is drawn into frames."""

from __future__ import annotations

import numpy as np
import pytest

from callboard_shared.jobs.vision import Followed, Line
from callboard_vision.engines.interface import Pixels
from callboard_vision.video.drawing import Drawing


def grey(width: int, height: int) -> Pixels:
    return np.full((height, width, 3), 128, np.uint8)


def at(x: float, y: float, track_id: int = 1) -> Followed:
    return Followed(
        track_id=track_id, label="stop sign", class_id=11, confidence=0.9, box=(x, y, x + 60, y + 60)
    )


def changed(picture: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    found: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = (picture != 128).any(axis=2)
    return found


def drawn_by(drawing: Drawing, followed: list[Followed], size: tuple[int, int] = (400, 300)) -> Pixels:
    picture = grey(*size)
    drawing.draw(picture, followed)
    return picture


def test_boxes_are_drawn_where_things_are() -> None:
    drawn = changed(drawn_by(Drawing(400, 300, 10), [at(100, 150)]))
    assert drawn[150, 100:160].all() and drawn[210, 100:160].all()
    assert drawn[150:210, 100].all() and drawn[150:210, 160].all()
    assert not drawn[160:200, 110:150].any()
    assert drawn[135:149, 100:140].mean() > 0.5  # the name, above the box


def test_the_way_come_is_drawn_and_forgotten() -> None:
    drawing = Drawing(400, 300, 5)
    for x in range(0, 300, 20):
        picture = drawn_by(drawing, [at(x, 150)])
    way = changed(picture)[180]
    assert way[200:280].all()  # the centres of the last frames, left of the box
    assert not way[:60].any()  # more than two seconds ago


def test_a_track_keeps_its_colour() -> None:
    drawing = Drawing(400, 300, 10)
    first = drawn_by(drawing, [at(100, 150, 1), at(250, 150, 2)])
    then = drawn_by(drawing, [at(250, 150, 2)])
    assert (first[210, 280] == then[210, 280]).all()
    assert (first[210, 280] != first[210, 130]).any()


def test_lines_are_drawn() -> None:
    drawing = Drawing(400, 300, 10, [Line(start=(0, 20.4), end=(399, 20.4))])
    drawn = changed(drawn_by(drawing, []))
    assert drawn[20].all()
    assert not drawn[40:].any()


@pytest.mark.parametrize("size", [(1, 1), (20, 4000), (3840, 2160)])
def test_any_size_can_be_drawn_into(size: tuple[int, int]) -> None:
    drawn = drawn_by(Drawing(*size, 10), [at(-30, -30), at(5000, 5000, 2)], size)
    assert changed(drawn).any()
