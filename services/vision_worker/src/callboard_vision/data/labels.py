"""The lines of a label file: a class and coordinates, 0…1 of the picture's width and height.

By the model's task a line is ``class x y width height`` (detect; x, y: the centre), ``class x1 y1 x2 y2 …`` (segment:
an outline), ``class x y width height px py [visible] …`` (pose) or ``class x1 y1 … x4 y4`` (obb: four corners).
Source: https://docs.ultralytics.com/datasets/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from callboard_vision.engines.interface import VisionTask

TOLERANCE = 0.01
"""So far outside of 0…1 a value is taken for rounding, and clipped."""
_ROUNDING = 1e-3
"""So far a box may reach outside without being worth a word: less than a pixel in a thousand."""
MOST_LINES = 20_000

Fault = Callable[[str, int], None]
"""Takes what is wrong, and the line from 1."""


@dataclass(frozen=True, slots=True)
class Form:
    """How the lines of a data set must look. ``keypoints``: (number, 2 or 3) where it has any."""

    task: VisionTask
    classes: int
    keypoints: tuple[int, int] | None = None


@dataclass(slots=True)
class Labels:
    """``text``: what is to be trained on; ``objects``: its lines. Of those, and of what is not there any more:
    clipped: reached outside of the picture; boxed: outlines of which only the box counts; empty: boxes without any
    area, left out."""

    objects: int = 0
    clipped: int = 0
    boxed: int = 0
    empty: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


def read_labels(data: bytes, form: Form, fault: Fault) -> Labels:
    """What a label file says; an empty one says that nothing is in the picture."""
    labels = Labels()
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        fault("It is no UTF-8 text.", 1)
        return labels
    if len(lines) > MOST_LINES:
        fault(f"There are {len(lines)} lines; at most {MOST_LINES} are taken.", MOST_LINES + 1)
        return labels
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            _add(labels, line.split(), form)
        except _Wrong as wrong:
            fault(str(wrong), number)
    return labels


class _Wrong(Exception):
    """What is wrong with a line."""


def _add(labels: Labels, words: Sequence[str], form: Form) -> None:
    numbers = [_number(word) for word in words]
    index, values = _class(numbers[0], words[0], form.classes), numbers[1:]
    if form.task == "segment":
        if len(values) < 6 or len(values) % 2:
            raise _Wrong(_columns(words, "a class and at least three points x y: an outline, not a box"))
        places = _inside(labels, values)
    elif form.task == "obb":
        if len(values) != 8:
            raise _Wrong(_columns(words, "a class and four corners x y"))
        places = _inside(labels, values)
    elif form.task == "pose":
        count, width = form.keypoints or (0, 2)
        if len(values) != 4 + count * width:
            raise _Wrong(_columns(words, f"a class, a box of 4 numbers, and {count} key points of {width}"))
        box = _box(labels, values[:4])
        if box is None:
            return
        places = [*box, *_points(labels, values[4:], width)]
    else:
        box = _box(labels, _as_box(labels, values, words, form))
        if box is None:
            return
        places = box
    labels.objects += 1
    labels.lines.append(" ".join((str(index), *(f"{place:.6g}" for place in places))))


def _number(word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        raise _Wrong(f"{word[:30]!r} is no number.") from None
    if not math.isfinite(number):
        raise _Wrong(f"{word[:30]!r} is no finite number.")
    return number


def _class(number: float, word: str, classes: int) -> int:
    if number != int(number):
        raise _Wrong(f"The class {word[:30]} is no whole number.")
    if not 0 <= number < classes:
        raise _Wrong(
            f"Class {int(number)} is not named: the {classes} classes count from 0 to {classes - 1}."
        )
    return int(number)


def _columns(words: Sequence[str], wanted: str) -> str:
    return f"The line has {len(words)} numbers; it must have {wanted}."


def _as_box(labels: Labels, values: list[float], words: Sequence[str], form: Form) -> list[float]:
    """The box of a line: its own, or that of its outline or corners."""
    if len(values) == 4:
        return values
    count, width = form.keypoints or (0, 0)
    if count and len(values) == 4 + count * width:
        labels.boxed += 1
        return values[:4]
    if len(values) < 6 or len(values) % 2:
        cure = " Leave the confidence out." if len(values) == 5 else ""
        raise _Wrong(_columns(words, f"a class and a box: x, y of its centre, width, height.{cure}"))
    labels.boxed += 1
    xs, ys = values[0::2], values[1::2]
    return [(min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)]


def _check_range(values: Sequence[float]) -> None:
    for value in values:
        if not -TOLERANCE <= value <= 1 + TOLERANCE:
            raise _Wrong(
                f"{value:g} is outside of 0…1. Coordinates are shares of the picture's width and height, not pixels."
            )


def _inside(labels: Labels, values: Sequence[float]) -> list[float]:
    _check_range(values)
    clipped = [min(1.0, max(0.0, value)) for value in values]
    labels.clipped += clipped != list(values)
    return clipped


def _box(labels: Labels, values: Sequence[float]) -> list[float] | None:
    """The part of a box that is in the picture; None if that has no area."""
    _check_range(values)
    x, y, width, height = values
    edges = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    left, top, right, bottom = (min(1.0, max(0.0, edge)) for edge in edges)
    if right <= left or bottom <= top:
        labels.empty += 1
        return None
    reach = max(abs(a - b) for a, b in zip(edges, (left, top, right, bottom), strict=True))
    if reach <= 1e-6:
        return list(values)
    labels.clipped += reach > _ROUNDING
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]


def _points(labels: Labels, values: Sequence[float], width: int) -> list[float]:
    if width == 2:
        return _inside(labels, values)
    placed = [value for index, value in enumerate(values) if index % 3 < 2]
    inside, visible = _inside(labels, placed), values[2::3]
    if not set(visible) <= {0.0, 1.0, 2.0}:
        raise _Wrong("Whether a key point can be seen is 0 (no such point), 1 (hidden) or 2 (seen).")
    return [
        value
        for x, y, seen in zip(inside[0::2], inside[1::2], visible, strict=True)
        for value in (x, y, seen)
    ]
