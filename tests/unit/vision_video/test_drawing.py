"""What is drawn into frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from callboard_shared.jobs.vision import Followed, Line
from callboard_vision.drawing import colour_of
from callboard_vision.engines.interface import Pixels, Shape
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


def shaped(shape: Shape, skeleton: Sequence[tuple[int, int]] = ()) -> Pixels:
    picture = grey(400, 300)
    Drawing(400, 300, 10, skeleton=skeleton).draw(picture, [at(100, 150)], {1: shape})
    return picture


def test_outlines_are_filled_in_the_colour_of_their_track_and_the_rest_is_left() -> None:
    triangle = np.array([[110, 160], [150, 160], [110, 200]], np.float32)
    picture = shaped(Shape(outlines=[triangle]))
    inside, outside = picture[172, 118], picture[195, 145]
    expected = 0.4 * np.array(colour_of(1)) + 0.6 * 128
    assert np.abs(inside - expected).max() < 3, "the picture shows through"
    assert (outside == 128).all(), "within the box, and not of the thing"
    assert (changed(picture)[150, 100:160]).all(), "its box is drawn as well"


def test_key_points_and_their_skeleton_are_drawn_where_they_are_sure() -> None:
    points = np.array([[110, 160, 0.9], [150, 160, 0.9], [110, 200, 0.1]], np.float32)
    drawn = changed(shaped(Shape(keypoints=points), skeleton=[(0, 1), (0, 2)]))
    assert drawn[160, 110] and drawn[160, 150]
    assert drawn[160, 112:148].all(), "the limb between two that are sure"
    assert not drawn[195:205, 105:115].any() and not drawn[170:190, 105:115].any()


def test_a_turned_box_is_drawn_as_it_is_turned_and_no_straight_one_besides() -> None:
    diamond = np.array([[130, 150], [160, 180], [130, 210], [100, 180]], np.float32)
    drawn = changed(shaped(Shape(corners=diamond)))
    assert drawn[165, 115] and drawn[195, 145]
    assert not drawn[150, 140:160].any() and not drawn[200:210, 100].any()


def test_a_shape_belongs_to_its_track_alone() -> None:
    square = np.array([[105, 155], [155, 155], [155, 205], [105, 205]], np.float32)
    picture = grey(400, 300)
    Drawing(400, 300, 10).draw(
        picture, [at(100, 150), at(250, 150, 2)], {2: Shape(outlines=[square + np.array([150, 0])])}
    )
    assert not changed(picture)[170, 110:125].any() and changed(picture)[170, 260:275].all()


@pytest.mark.parametrize("size", [(1, 1), (20, 4000), (3840, 2160)])
def test_any_size_can_be_drawn_into(size: tuple[int, int]) -> None:
    drawn = drawn_by(Drawing(*size, 10), [at(-30, -30), at(5000, 5000, 2)], size)
    assert changed(drawn).any()
