"""What is drawn can be seen: boxes where they are, labels that can be read at every size, in many scripts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looking import findings

from callboard_vision.drawing import Mark, Pen, annotated, colour_of, draw, marks_of
from callboard_vision.engines.interface import ModelFacts, Pixels, Shape

GREY = 120


def blank(width: int, height: int) -> Pixels:
    return np.full((height, width, 3), GREY, np.uint8)


def drawn(width: int, height: int, *marks: Mark, **options: Any) -> Pixels:
    return annotated(blank(width, height), marks, **options)


def pixels_of(picture: Pixels, colour: tuple[int, int, int]) -> int:
    return int((np.abs(picture.astype(int) - colour) < 20).all(axis=2).sum())


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [
        (1, 1, (480, 480)), (16, 16, (480, 480)), (100, 50, (250, 500)), (640, 480, (480, 640)), (479, 3, (78, 958)),
        (20_000, 10, (78, 20_000)), (10, 3000, (3000, 104)), (3000, 2000, (2000, 3000)),
    ],
)  # fmt: skip
def test_small_pictures_are_enlarged_and_narrow_ones_get_a_margin(
    width: int, height: int, shape: tuple[int, int]
) -> None:
    mark = Mark("person 0.92", 0, (0, 0, width, height))
    picture = drawn(width, height, mark)
    assert picture.shape == (*shape, 3)
    letters = pixels_of(picture, (255, 255, 255))
    assert letters > 60, "the label's letters are there"


def test_letters_grow_with_the_picture() -> None:
    heights = [Pen.fit_for(width, width * 3 // 4).text for width in (300, 640, 1920, 4000, 8000)]
    assert heights == sorted(heights)
    assert heights[0] >= 13
    assert heights[-1] > 100


def test_the_picture_itself_stays_as_it_was() -> None:
    picture = blank(640, 480)
    annotated(
        picture,
        [Mark("a", 0, (1, 1, 99, 99), Shape(outlines=[np.array([[1, 1], [9, 1], [9, 9]], np.float32)]))],
    )
    assert (picture == GREY).all()


def test_boxes_are_where_things_are_and_of_their_class_colour() -> None:
    picture = drawn(640, 480, Mark("a", 3, (100, 200, 300, 400)))
    colour = np.array(colour_of(3))
    for x, y in ((100, 300), (300, 300), (200, 200), (200, 400)):
        assert np.abs(picture[y, x].astype(int) - colour).max() < 30
    assert (picture[300, 200] == GREY).all()


def test_a_label_is_within_the_picture_wherever_its_box_is() -> None:
    for box in (
        (-50, -50, 10, 10),
        (630, 470, 700, 500),
        (0, 0, 640, 480),
        (300, 0, 310, 4),
        (-9, 480, 700, 481),
    ):
        picture = drawn(640, 480, Mark("a long label of a thing 0.99", 0, box))
        assert pixels_of(picture, (255, 255, 255)) > 100


def test_labels_do_not_hide_each_other_while_there_is_room() -> None:
    marks = [Mark(f"thing {place}", place, (200, 200, 400, 400)) for place in range(4)]
    picture = drawn(640, 480, *marks)
    plates = [pixels_of(picture, colour_of(place)) for place in range(4)]
    assert min(plates) > 200


def test_a_label_that_is_too_long_is_cut_with_an_ellipsis() -> None:
    picture = drawn(480, 480, Mark("x" * 5000, 0, (0, 100, 400, 400)))
    assert picture.shape == (480, 480, 3)
    assert pixels_of(picture, (255, 255, 255)) > 100


@pytest.mark.parametrize(
    "label", ["사람 0.92", "정지 표지판", "停止標識", "ストップ", "знак", "Straße", "πινακίδα"]
)
def test_labels_of_many_scripts_are_drawn_and_not_as_question_marks(label: str) -> None:
    box = (50, 100, 400, 300)
    assert (drawn(640, 480, Mark(label, 0, box)) != drawn(640, 480, Mark("?" * len(label), 0, box))).any()
    other = label.replace(label[0], chr(ord(label[0]) + 2))
    assert (drawn(640, 480, Mark(label, 0, box)) != drawn(640, 480, Mark(other, 0, box))).any(), (
        "and told apart"
    )


def test_an_operators_font_is_used() -> None:
    import matplotlib

    font = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSerif-BoldItalic.ttf"
    mark = Mark("person 0.92", 0, (50, 100, 400, 300))
    assert (drawn(640, 480, mark) != drawn(640, 480, mark, font=font)).any()


def test_outlines_are_filled_so_that_what_is_below_shows_through() -> None:
    square = np.array([[100, 100], [300, 100], [300, 300], [100, 300]], np.float32)
    picture = drawn(640, 480, Mark("a", 0, (100, 100, 300, 300), Shape(outlines=[square, square[:0]])))
    inside, colour = picture[200, 200].astype(float), np.array(colour_of(0), float)
    assert np.abs(inside - (0.6 * GREY + 0.4 * colour)).max() < 3


def test_sure_key_points_are_drawn_and_joined_and_others_are_not() -> None:
    points = np.array([[100, 100, 0.9], [300, 100, 0.9], [200, 300, 0.1]], np.float32)
    mark = Mark("a", 0, (0, 0, 1, 1), Shape(keypoints=points))
    picture = drawn(640, 480, mark, skeleton=[(0, 1), (1, 2)])
    assert (picture[100, 200] != GREY).any(), "the bone between two sure points"
    assert (picture[200, 250] == GREY).all(), "none to an unsure one"
    assert (picture[300, 200] == GREY).all()


def test_a_turned_box_is_drawn_by_its_corners() -> None:
    corners = np.array([[200, 100], [300, 200], [200, 300], [100, 200]], np.float32)
    picture = drawn(640, 480, Mark("a", 0, (100, 100, 300, 300), Shape(corners=corners)))
    assert (picture[150, 250] != GREY).any()
    assert (picture[299, 110] == GREY).all()


def test_marks_are_made_of_findings_with_the_surest_on_top() -> None:
    points = np.zeros((2, 1, 3), np.float32)
    found = findings([[0, 0, 9, 9], [1, 1, 5, 5]], [0.9, 0.5], [1, 0], keypoints=points)
    marks = marks_of(found, ModelFacts("pose", {0: "cat", 1: "dog"}))
    assert [(mark.text, mark.colour) for mark in marks] == [("cat 0.50", 0), ("dog 0.90", 1)]
    assert marks[0].shape.keypoints is not None


def test_neighbouring_classes_are_told_apart_by_colour() -> None:
    colours = np.array([colour_of(number) for number in range(80)], int)
    assert np.abs(np.diff(colours, axis=0)).max(axis=1).min() > 60
    assert colour_of(5) == colour_of(5)


def test_threads_may_draw_at_once() -> None:
    mark = Mark("정지 표지판 0.92", 0, (50, 100, 400, 300))
    wanted = drawn(640, 480, mark)
    with ThreadPoolExecutor(4) as pool:
        for picture in pool.map(lambda _: drawn(640, 480, mark), range(40)):
            assert (picture == wanted).all()


@given(
    st.integers(1, 700), st.integers(1, 700),
    st.lists(st.tuples(st.text(max_size=40), st.lists(st.floats(-2000, 2000), min_size=4, max_size=4)), max_size=5),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_whatever_is_found_can_be_drawn(
    width: int, height: int, things: list[tuple[str, list[float]]]
) -> None:
    marks = [Mark(text, place, box) for place, (text, box) in enumerate(things)]
    picture = drawn(width, height, *marks, lines=[text for text, _ in things])
    assert picture.dtype == np.uint8


def test_a_video_frame_is_drawn_into_itself() -> None:
    frame = blank(320, 240)
    draw(frame, [Mark("a", 0, (10, 50, 100, 100))], Pen.fit_for(320, 240))
    assert (frame != GREY).any()
    assert cv2.imencode(".jpg", frame)[0]
