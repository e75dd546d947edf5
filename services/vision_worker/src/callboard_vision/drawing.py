"""Draws what was found into a picture: outlines, boxes, key points, and labels that can be read at any size.

OpenCV 5 writes with fonts of its own, Latin, Cyrillic, Greek, Chinese, Japanese and Korean among their scripts;
what they lack stands as a question mark, unless the operator names a font.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from callboard_vision.engines.interface import Findings, Floats, ModelFacts, Pixels, Shape

_SMALLEST = 480
"""Pixels of the longer side below which a picture is enlarged, so that labels have room."""
_SURE = 0.5
"""Key points that are less sure are not drawn."""
_WEIGHT = 500
"""Of the letters: medium."""
_DARK, _LIGHT = (20, 20, 20), (255, 255, 255)
_MARGIN = 235
"""Grey of what is added around a narrow picture."""

BOX_ALONE = Shape()
Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]
Whole = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing to draw; all in pixels of the picture. ``colour``: marks of the same number have the same colour."""

    text: str
    colour: int
    box: Sequence[float]
    shape: Shape = BOX_ALONE


@dataclass(frozen=True, slots=True)
class Pen:
    """How thick and how large, fit for a picture's size; ``font``: a TrueType file, None for OpenCV's own."""

    line: int
    text: int
    font: Path | None = None

    @classmethod
    def fit_for(cls, width: int, height: int, font: Path | None = None) -> Pen:
        size = min((width + height) / 2, 4 * min(width, height))
        return cls(max(1, round(size * 0.0035)), max(13, round(size * 0.02)), font)


def marks_of(findings: Findings, facts: ModelFacts) -> list[Mark]:
    """A mark a thing, the least sure first, so that the surest lie on top."""
    return [
        Mark(
            f"{facts.names[number]} {findings.confidences[place]:.2f}",
            number,
            findings.boxes[place].tolist(),
            findings.shape(place),
        )
        for place, number in reversed(list(enumerate(map(int, findings.class_ids))))
    ]


def annotated(
    picture: Pixels,
    marks: Sequence[Mark],
    skeleton: Sequence[tuple[int, int]] = (),
    lines: Sequence[str] = (),
    font: Path | None = None,
) -> Pixels:
    """A copy with the marks drawn in; small pictures are enlarged by a whole number, and narrow ones get a margin.
    ``lines`` stand in the upper left corner."""
    height, width = picture.shape[:2]
    scale = max(1, -(-_SMALLEST // max(width, height)))
    large = picture if scale == 1 else picture.repeat(scale, axis=0).repeat(scale, axis=1)
    height, width = large.shape[:2]
    pen = Pen.fit_for(width, height, font)
    more_rows, more_columns = max(0, 6 * pen.text - height), max(0, 8 * pen.text - width)
    top, left = more_rows // 2, more_columns // 2
    canvas = np.full((height + more_rows, width + more_columns, 3), _MARGIN, np.uint8)
    canvas[top : top + height, left : left + width] = large
    draw(canvas, [_moved(mark, scale, left, top) for mark in marks], pen, skeleton)
    write(canvas, lines, pen)
    return canvas


def draw(canvas: Pixels, marks: Sequence[Mark], pen: Pen, skeleton: Sequence[tuple[int, int]] = ()) -> None:
    """Draw marks into the canvas itself."""
    _fill_outlines(canvas, marks)
    for mark in marks:
        colour = colour_of(mark.colour)
        if mark.shape.corners is not None:
            cv2.polylines(canvas, [_whole(mark.shape.corners)], True, colour, pen.line, cv2.LINE_AA)
        else:
            x1, y1, x2, y2 = (round(value) for value in mark.box)
            cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, pen.line, cv2.LINE_AA)
        cv2.polylines(canvas, _polygons(mark), True, colour, pen.line, cv2.LINE_AA)
        if mark.shape.keypoints is not None:
            _draw_keypoints(canvas, mark.shape.keypoints, skeleton, pen, colour)
    taken: list[Box] = []
    for mark in reversed(marks):  # the surest chooses first
        _label(canvas, mark, pen, taken)


def write(canvas: Pixels, lines: Sequence[str], pen: Pen) -> None:
    """Lines of text in the upper left corner."""
    for place, text in enumerate(lines):
        width, height = _measure(text, pen)
        y = place * (height + pen.line)
        _plate(canvas, (0, y, width, y + height), text, _DARK, pen)


@lru_cache(1024)
def colour_of(number: int) -> Colour:
    """Blue, green, red; neighbours differ by the golden ratio of the circle of hues."""
    red, green, blue = colorsys.hsv_to_rgb((0.02 + number * 0.618034) % 1, 0.85, (1.0, 0.8, 0.9)[number % 3])
    return round(blue * 255), round(green * 255), round(red * 255)


def _moved(mark: Mark, scale: int, left: int, top: int) -> Mark:
    at = np.array([left, top], np.float32)
    shape = mark.shape
    keypoints = None if shape.keypoints is None else shape.keypoints.copy()
    if keypoints is not None:
        keypoints[:, :2] = keypoints[:, :2] * scale + at
    box = (np.reshape(mark.box, (2, 2)) * scale + at).ravel().tolist()
    corners = None if shape.corners is None else shape.corners * scale + at
    outlines = [one * scale + at for one in shape.outlines]
    return Mark(mark.text, mark.colour, box, Shape(corners, outlines, keypoints))


def _fill_outlines(canvas: Pixels, marks: Sequence[Mark]) -> None:
    if not any(mark.shape.outlines for mark in marks):
        return
    filled = canvas.copy()
    for mark in marks:
        cv2.fillPoly(filled, _polygons(mark), colour_of(mark.colour), cv2.LINE_AA)
    cv2.addWeighted(filled, 0.4, canvas, 0.6, 0, dst=canvas)


def _draw_keypoints(
    canvas: Pixels, points: Floats, skeleton: Sequence[tuple[int, int]], pen: Pen, colour: Colour
) -> None:
    sure = {place for place in range(len(points)) if points[place, 2] >= _SURE}
    places = _whole(points[:, :2])
    for start, end in skeleton:
        if start in sure and end in sure:
            cv2.line(canvas, places[start].tolist(), places[end].tolist(), colour, pen.line, cv2.LINE_AA)
    for place in sure:
        cv2.circle(canvas, places[place].tolist(), 2 * pen.line, _LIGHT, -1, cv2.LINE_AA)
        cv2.circle(canvas, places[place].tolist(), 2 * pen.line, colour, max(1, pen.line // 2), cv2.LINE_AA)


def _polygons(mark: Mark) -> list[Whole]:
    return [_whole(outline) for outline in mark.shape.outlines if len(outline)]


def _whole(points: Floats) -> Whole:
    return np.clip(np.round(points), -(2**20), 2**20).astype(np.int32)


# --- text ---


def _label(canvas: Pixels, mark: Mark, pen: Pen, taken: list[Box]) -> None:
    """On the upper edge of the thing's box, or where it hides no other label and stays within the picture."""
    rows, columns = canvas.shape[:2]
    text = _shortened(mark.text, columns, pen)
    width, height = _measure(text, pen)
    x1, y1, x2, y2 = (round(value) for value in mark.box)
    left = min(max(0, x1), max(0, columns - width))
    right = min(max(0, x2 - width), max(0, columns - width))
    tops = [y1 - height, y1, y2, y2 - height]
    places = [(x, y, x + width, y + height) for y in tops for x in (left, right) if 0 <= y <= rows - height]
    fallback = min(max(0, y1 - height), max(0, rows - height))
    free = [place for place in places if not any(_overlap(place, other) for other in taken)]
    place = next(iter([*free, *places]), (left, fallback, left + width, fallback + height))
    taken.append(place)
    _plate(canvas, place, text, colour_of(mark.colour), pen)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _plate(canvas: Pixels, place: Box, text: str, colour: Colour, pen: Pen) -> None:
    x1, y1, x2, y2 = place
    cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), colour, -1)
    blue, green, red = colour
    ink = _DARK if 0.114 * blue + 0.587 * green + 0.299 * red > 150 else _LIGHT
    baseline = y1 + round(pen.text * 1.08)
    cv2.putText(
        canvas, text, (x1 + pen.text // 4, baseline), ink, _font(pen.font), pen.text, _WEIGHT, 0, _WIDE
    )


_WIDE = (0, 2**20)
"""Text is never wrapped."""


def _measure(text: str, pen: Pen) -> tuple[int, int]:
    """Width and height of a label, its margins included."""
    size = cv2.getTextSize((2**15, 2**15), text, (0, 2**14), _font(pen.font), pen.text, _WEIGHT, 0, _WIDE)
    return int(size[0] + size[2]) + pen.text // 2, round(pen.text * 1.45)


def _shortened(text: str, columns: int, pen: Pen) -> str:
    """At most as wide as the picture."""
    if _measure(text, pen)[0] <= columns:
        return text
    least, most = 0, len(text)
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (
            (middle, most) if _measure(text[:middle] + "…", pen)[0] <= columns else (least, middle - 1)
        )
    return text[:least] + "…"


def _font(path: Path | None) -> cv2.FontFace:
    """A font is not to be shared by threads."""
    return cv2.FontFace("sans" if path is None else str(path))
