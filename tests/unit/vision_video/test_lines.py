"""Crossings of lines, exactly."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from callboard_vision.lines import JITTER, LineCounter, Point

SIZE = 10.0
Path = list[Point]
coordinates = st.integers(-200, 200).map(float)
points = st.tuples(coordinates, coordinates)
paths = st.lists(points, min_size=2, max_size=30)


def counted(path: Path, start: Point = (0, 0), end: Point = (100, 0), size: float = SIZE) -> tuple[int, int]:
    line = LineCounter(start, end)
    for x, y in path:
        line.see(1, (x - size / 2, y - size / 2, x + size / 2, y + size / 2))
    return line.forth, line.back


def test_from_left_to_right_is_forth_and_the_other_way_back() -> None:
    # Looking from (0, 0) to (100, 0), with y downwards, what is below is to the right.
    assert counted([(50, -20), (50, 20)]) == (1, 0)
    assert counted([(50, 20), (50, -20)]) == (0, 1)
    assert counted([(50, -20), (50, 20), (50, -20), (50, 20)]) == (2, 1)
    assert counted([(-20, 50), (20, 50)], (0, 100), (0, 0)) == (
        1,
        0,
    )  # a line upwards: the right is the right


def test_who_goes_past_the_end_of_a_line_does_not_cross_it() -> None:
    assert counted([(120, -20), (120, 20)]) == (0, 0)
    assert counted([(50, -20), (120, -5), (120, 5), (50, 20)]) == (0, 0)  # round the end, and on behind it


def test_who_trembles_on_the_line_has_crossed_once() -> None:
    tremble = JITTER * SIZE / 2
    shaking = [(50 + n / 10, tremble * (-1) ** n) for n in range(50)]
    assert counted([(50, -20), *shaking, (55, 20)]) == (1, 0)
    assert counted([(50, -20), *shaking, (55, -20)]) == (0, 0)


def test_who_stands_still_on_the_line_crosses_when_it_goes_on() -> None:
    assert counted([(50, -20), (50, 0), (50, 0), (50, 0), (50, 20)]) == (1, 0)
    assert counted([(50, -20), (50, 0), (50, 0), (50, -20)]) == (0, 0)
    assert counted([(50, 0), (50, 20)]) == (0, 0)  # it never was on the other side


def test_where_it_left_the_line_is_what_counts() -> None:
    assert counted([(50, -20), (50, 0), (150, 0), (150, 20)]) == (0, 0)
    assert counted([(150, -20), (150, 0), (50, 0), (50, 20)]) == (1, 0)


def test_tracks_are_told_apart() -> None:
    line = LineCounter((0, 0), (100, 0))
    for track_id, (before, after) in {1: (-20, 20), 2: (20, -20), 3: (-20, -10)}.items():
        for y in (before, after):
            line.see(track_id, (45, y - 5, 55, y + 5))
    assert (line.forth, line.back) == (1, 1)


@given(paths)
def test_turning_the_line_round_turns_the_directions(path: Path) -> None:
    assert counted(path, (100, 0), (0, 0)) == counted(path)[::-1]


@given(paths)
def test_going_the_way_back_undoes_each_crossing(path: Path) -> None:
    assume(all(y != 0 for _, y in path))  # who stops on the line leaves it elsewhere on the way back
    forth, back = counted(path)
    assert counted(path[::-1]) == (back, forth)


@given(paths, st.sampled_from([0, 1, 2, 3]), points)
def test_it_is_the_same_wherever_and_however_the_line_lies(path: Path, quarters: int, by: Point) -> None:
    def moved(point: Point) -> Point:
        x, y = point
        for _ in range(quarters):
            x, y = -y, x
        return x + by[0], y + by[1]

    assert counted([moved(at) for at in path], moved((0, 0)), moved((100, 0))) == counted(path)


@given(paths)
def test_over_an_endless_line_the_sides_tell_the_sum(path: Path) -> None:
    sure = JITTER * SIZE
    sides = [math.copysign(1, y) for _, y in path if abs(y) > sure]
    forth, back = counted(path, (-1e5, 0), (1e5, 0))
    assert forth - back == (0 if not sides else (sides[-1] - sides[0]) / 2)
    assert forth + back == sum(a != b for a, b in pairwise(sides))


@given(points, points)
def test_a_straight_way_crosses_exactly_if_it_meets_the_line(before: Point, after: Point) -> None:
    assume(before[1] != 0 and after[1] != 0)
    forth, back = counted([before, after])
    if before[1] * after[1] > 0:
        assert (forth, back) == (0, 0)
        return
    along = before[0] + (after[0] - before[0]) * before[1] / (before[1] - after[1])
    assume(abs(along) > 1e-6 and abs(along - 100) > 1e-6)
    crossed = 0 < along < 100
    assert (forth, back) == (int(crossed and after[1] > 0), int(crossed and after[1] < 0))
