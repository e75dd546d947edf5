"""The lines of label files."""

from __future__ import annotations

from typing import Any

import pytest

from callboard_vision.data.labels import Form, Labels, read_labels

DETECT, POSE = Form("detect", 3), Form("pose", 1, (2, 3))


def read(text: str | bytes, form: Form = DETECT) -> tuple[Labels, list[tuple[int, str]]]:
    found: list[tuple[int, str]] = []
    data = text.encode() if isinstance(text, str) else text
    return read_labels(data, form, lambda message, line: found.append((line, message))), found


@pytest.mark.parametrize(
    ("form", "line"),
    [
        (DETECT, "2 0.5 0.5 0.25 0.5"),
        (Form("segment", 1), "0 0.1 0.1 0.9 0.1 0.5 0.9"),
        (Form("obb", 1), "0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9"),
        (POSE, "0 0.5 0.5 0.25 0.5 0.4 0.4 2 0 0 0"),
        (Form("pose", 1, (1, 2)), "0 0.5 0.5 0.25 0.5 0.4 0.4"),
    ],
)
def test_a_right_line_stays_as_it_is(form: Form, line: str) -> None:
    labels, wrong = read(f"\n{line}\r\n  \n", form)
    assert (labels.lines, labels.objects, wrong) == ([line], 1, [])
    assert (labels.clipped, labels.boxed, labels.empty) == (0, 0, 0)


@pytest.mark.parametrize(
    ("form", "line", "says"),
    [
        (DETECT, "3 0.5 0.5 0.2 0.2", "Class 3 is not named: the 3 classes count from 0 to 2"),
        (DETECT, "-1 0.5 0.5 0.2 0.2", "Class -1"),
        (DETECT, "0.5 0.5 0.5 0.2 0.2", "no whole number"),
        (DETECT, "dog 0.5 0.5 0.2 0.2", "'dog' is no number"),
        (DETECT, "0 nan 0.5 0.2 0.2", "no finite number"),
        (DETECT, "0 0.5 inf 0.2 0.2", "no finite number"),
        (DETECT, "1e400 0.5 0.5 0.2 0.2", "no finite number"),
        (DETECT, "0 320 240 64 48", "320 is outside of 0…1. Coordinates are shares"),
        (DETECT, "0 0.5 0.5 -0.2 0.2", "-0.2 is outside"),
        (DETECT, "0 0.5 0.5 0.2", "The line has 4 numbers"),
        (DETECT, "0 0.5 0.5 0.2 0.2 0.9", "Leave the confidence out"),
        (Form("segment", 1), "0 0.5 0.5 0.2 0.2", "at least three points"),
        (Form("segment", 1), "0 0.1 0.1 0.9 0.1 0.5 0.9 0.4", "at least three points"),
        (Form("obb", 1), "0 0.5 0.5 0.2 0.2", "four corners"),
        (POSE, "0 0.5 0.5 0.25 0.5 0.4 0.4 2", "2 key points of 3"),
        (POSE, "0 0.5 0.5 0.25 0.5 0.4 0.4 3 0 0 0", "0 (no such point), 1 (hidden) or 2 (seen)"),
        (POSE, "0 0.5 0.5 0.25 0.5 1.4 0.4 2 0 0 0", "1.4 is outside"),
    ],
)
def test_a_wrong_line_is_told_with_its_number(form: Form, line: str, says: str) -> None:
    labels, wrong = read(f"{line}\n", form)
    assert labels.objects == 0
    assert [number for number, _ in wrong] == [1] and says in wrong[0][1]


def test_every_wrong_line_is_told() -> None:
    labels, wrong = read("0 0.5 0.5 0.2 0.2\n9 0.5 0.5 0.2 0.2\n\n0 0.5\n")
    assert labels.objects == 1 and [number for number, _ in wrong] == [2, 4]


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("0 1.005 0.5 0.2 0.2", "0 0.9525 0.5 0.095 0.2"),
        ("0 0.95 0.5 0.3 0.2", "0 0.9 0.5 0.2 0.2"),
        ("0 0.5 0.5 1.01 1", "0 0.5 0.5 1 1"),
    ],
)
def test_a_box_that_reaches_outside_is_clipped(line: str, kept: str) -> None:
    labels, wrong = read(line)
    assert (labels.lines, labels.clipped, wrong) == ([kept], 1, [])


def test_a_box_at_the_edge_is_not_taken_to_reach_outside() -> None:
    labels, _ = read("0 0.1 0.1 0.2 0.2\n0 0.333333 0.5 0.666667 1.0")
    assert labels.clipped == 0


def test_boxes_without_area_are_left_out() -> None:
    labels, wrong = read("0 0.5 0.5 0 0.2\n0 1.005 0.5 0.001 0.1\n0 0.5 0.5 0.1 0.1")
    assert (labels.objects, labels.empty, wrong) == (1, 2, [])


def test_an_outline_counts_as_its_box_where_boxes_are_learned() -> None:
    labels, wrong = read("1 0.1 0.2 0.5 0.2 0.5 0.8 0.1 0.8")
    assert (labels.lines, labels.boxed, wrong) == (["1 0.3 0.5 0.4 0.6"], 1, [])


def test_key_points_are_left_out_where_boxes_are_learned() -> None:
    labels, wrong = read("0 0.5 0.5 0.2 0.2 0.5 0.5 2 0.4 0.4 2", Form("detect", 1, (2, 3)))
    assert (labels.lines, labels.boxed, wrong) == (["0 0.5 0.5 0.2 0.2"], 1, [])


@pytest.mark.parametrize(
    ("data", "says"), [(b"0 0.5\xff", "UTF-8"), (b"0 0 0 1 1\n" * 20_001, "20001 lines")]
)
def test_a_file_that_is_no_label_file_is_told_once(data: bytes, says: str) -> None:
    labels, wrong = read(data)
    assert labels.objects == 0 and len(wrong) == 1 and says in wrong[0][1]


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_an_empty_file_says_that_there_is_nothing(text: str) -> None:
    labels, wrong = read(text)
    assert (labels.text, wrong) == ("", [])


def test_a_byte_order_mark_and_a_class_with_a_point_are_taken() -> None:
    labels, wrong = read("\ufeff1.0 0.5 0.5 0.2 0.2")
    assert (labels.lines, wrong) == (["1 0.5 0.5 0.2 0.2"], [])


def test_what_is_written_is_read_again_to_the_same() -> None:
    forms: list[tuple[Any, str]] = [
        (DETECT, "0 0.123456789 0.5 0.2 0.3333333"),
        (POSE, "0 0.5 0.5 1.008 1 0.4 -0.004 2 0 0 0"),
    ]
    for form, line in forms:
        once, _ = read(line, form)
        twice, wrong = read(once.text, form)
        assert (twice.text, twice.clipped, wrong) == (once.text, 0, [])
