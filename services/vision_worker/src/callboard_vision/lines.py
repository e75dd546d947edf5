"""Counts who goes over a line, and which way. Exact: it is the path of a thing's centre that counts, and where it last
met the line."""

from __future__ import annotations

from dataclasses import dataclass
from math import copysign, hypot

Point = tuple[float, float]

JITTER = 0.02
"""So far must a thing be from the line to be surely on a side of it, in parts of the longer side of its box."""


@dataclass(slots=True)
class _Path:
    """Where a track is: ``side`` it surely was on last, 0 before it was on any; ``at`` its last centre, and ``within``:
    whether it last met the line between its ends."""

    side: float
    at: Point
    within: bool = False


class LineCounter:
    """The line from ``start`` to ``end``, x y in pixels, y downwards; ``start`` ≠ ``end``.

    ``forth``: from the left to the right of one who looks from start to end; ``back``: the other way."""

    def __init__(self, start: Point, end: Point) -> None:
        self._start = start
        self._direction = end[0] - start[0], end[1] - start[1]
        self._length = hypot(*self._direction)
        self._paths: dict[int, _Path] = {}
        self.forth = self.back = 0

    def see(self, track_id: int, box: tuple[float, float, float, float]) -> None:
        """The next sighting of a track; ``box`` is x1 y1 x2 y2. One that trembles on the line counts once."""
        at = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        away = self._away(at)
        path = self._paths.get(track_id)
        if path is None:
            path = self._paths[track_id] = _Path(0.0, at)
        self._follow(path, at)
        if abs(away) <= JITTER * max(box[2] - box[0], box[3] - box[1]):
            return
        side = copysign(1.0, away)
        if path.side == -side and path.within:
            self.forth += side > 0
            self.back += side < 0
        path.side, path.within = side, False

    def _follow(self, path: _Path, at: Point) -> None:
        """Note where the way from the last centre to this one meets the line, if it does."""
        before, after = self._away(path.at), self._away(at)
        if before != after and (before <= 0 <= after or after <= 0 <= before):
            part = before / (before - after)
            x, y = (a + part * (b - a) for a, b in zip(path.at, at, strict=True))
            along = (x - self._start[0]) * self._direction[0] + (y - self._start[1]) * self._direction[1]
            path.within = 0 <= along <= self._length**2
        path.at = at

    def _away(self, point: Point) -> float:
        """Pixels from the line, which goes on beyond its ends; positive to the right."""
        x, y = point[0] - self._start[0], point[1] - self._start[1]
        return (self._direction[0] * y - self._direction[1] * x) / self._length
