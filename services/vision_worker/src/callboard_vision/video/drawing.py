"""Draws what is followed into the frames of a video: outlines, key points, boxes as they are turned, names with
numbers, the way come, and the lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np

from callboard_shared.jobs.vision import Followed, Line
from callboard_vision.drawing import BOX_ALONE, Mark, Pen, colour_of, draw
from callboard_vision.engines.interface import Pixels, Shape

_TRACE_S = 2.0
_DARK, _LIGHT = (20, 20, 20), (255, 255, 255)

Place = tuple[int, int]
NO_SHAPES: Mapping[int, Shape] = MappingProxyType({})


@dataclass(slots=True)
class _Way:
    """Where a track came from, and when it was last seen."""

    places: deque[Place] = field(default_factory=deque)
    frame: int = 0


class Drawing:
    """``width``, ``height``: of the frames; ``rate``: frames a second; ``font``: a TrueType file, None for OpenCV's
    own; ``skeleton``: of the model, see ``ModelFacts``. A track keeps its colour."""

    def __init__(
        self,
        width: int,
        height: int,
        rate: float,
        lines: Sequence[Line] = (),
        font: Path | None = None,
        skeleton: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._pen = Pen.fit_for(width, height, font)
        self._lines = [(_whole(line.start), _whole(line.end)) for line in lines]
        self._remembered = max(2, round(_TRACE_S * rate))
        self._ways: dict[int, _Way] = {}
        self._frame = 0
        self._skeleton = skeleton

    def draw(
        self, picture: Pixels, followed: Sequence[Followed], shapes: Mapping[int, Shape] = NO_SHAPES
    ) -> None:
        """The next frame: draw into the picture itself. ``shapes``: by track, what is known besides the box."""
        self._frame += 1
        thick = self._pen.line
        for start, end in self._lines:
            cv2.line(picture, start, end, _DARK, thick + 2, cv2.LINE_AA)
            cv2.line(picture, start, end, _LIGHT, thick, cv2.LINE_AA)
        for one in followed:
            way = self._come(one)
            colour = colour_of(one.track_id)
            cv2.polylines(picture, [np.array(way.places, np.int32)], False, colour, thick, cv2.LINE_AA)
        self._ways = {
            number: way for number, way in self._ways.items() if self._frame - way.frame < self._remembered
        }
        draw(
            picture,
            [
                Mark(
                    f"{one.label} #{one.track_id}", one.track_id, one.box, shapes.get(one.track_id, BOX_ALONE)
                )
                for one in followed
            ],
            self._pen,
            self._skeleton,
        )

    def _come(self, one: Followed) -> _Way:
        way = self._ways.setdefault(one.track_id, _Way(deque(maxlen=self._remembered)))
        x1, y1, x2, y2 = one.box
        way.places.append(_whole(((x1 + x2) / 2, (y1 + y2) / 2)))
        way.frame = self._frame
        return way


def _whole(point: tuple[float, float]) -> Place:
    return round(point[0]), round(point[1])
