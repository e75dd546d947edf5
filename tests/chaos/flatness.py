"""Whether a series of samples stays flat: its growth over the run by a robust slope, against a stated tolerance. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

MOST_POINTS = 200
"""A longer series is judged by the medians of so many equal parts: the slope looks at all pairs."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a series may grow over the whole run: a share of its median, or so much, whichever is more."""

    share: float
    floor: float


@dataclass(frozen=True, slots=True)
class Trend:
    """typical: the median; growth: over the time looked at, by the slope; allowed: by the tolerance."""

    typical: float
    growth: float
    allowed: float

    @property
    def is_flat(self) -> bool:
        return self.growth <= self.allowed


def trend(at_s: Sequence[float], values: Sequence[float], tolerance: Tolerance) -> Trend:
    """The Theil–Sen slope (median of the slopes of all pairs): up to 29 % of the samples may be wild. P. K. Sen (1968)."""
    points = thinned(at_s, values, MOST_POINTS)
    slopes = [(b - a) / (later - at) for (at, a), (later, b) in combinations(points, 2) if later > at]
    if not slopes:
        raise ValueError("a trend needs two samples at different times")
    typical = median(values)
    growth = median(slopes) * (points[-1][0] - points[0][0])
    return Trend(typical, growth, max(tolerance.share * abs(typical), tolerance.floor))


def thinned(at_s: Sequence[float], values: Sequence[float], most: int) -> list[tuple[float, float]]:
    """At most so many points: medians of equal parts."""
    pairs = list(zip(at_s, values, strict=True))
    size = -(-len(pairs) // most)
    parts = [pairs[i : i + size] for i in range(0, len(pairs), size)]
    return [(median(at for at, _ in part), median(value for _, value in part)) for part in parts]
