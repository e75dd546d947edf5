"""A series that grows is found to grow, however noisy; one that does not is not."""

from __future__ import annotations

import random

import pytest
from flatness import Tolerance, thinned, trend

AT = [float(second) for second in range(600)]
STRICT = Tolerance(0.1, 1)


def noisy(base: float, slope: float, noise: float) -> list[float]:
    chance = random.Random(7)
    return [base + slope * at + chance.gauss(0, noise) for at in AT]


def test_noise_alone_is_flat() -> None:
    assert trend(AT, noisy(100, 0, 8), STRICT).is_flat


def test_a_slow_leak_under_noise_is_not_flat() -> None:
    found = trend(AT, noisy(100, 0.05, 8), STRICT)
    assert not found.is_flat
    assert found.growth == pytest.approx(30, rel=0.15)


def test_a_fifth_of_wild_samples_does_not_hide_a_leak_or_make_one() -> None:
    for slope, flat in ((0.0, True), (0.05, False)):
        values = noisy(100, slope, 2)
        values[::5] = [900.0] * len(values[::5])
        assert trend(AT, values, STRICT).is_flat is flat


def test_what_shrinks_is_flat() -> None:
    assert trend(AT, noisy(100, -0.1, 2), STRICT).is_flat


def test_a_small_figure_may_grow_by_the_floor() -> None:
    assert trend([0, 100], [4, 5], Tolerance(0.1, 2)).is_flat
    assert not trend([0, 100], [4, 7], Tolerance(0.1, 2)).is_flat


def test_thinning_keeps_the_ends_and_the_level() -> None:
    points = thinned(AT, noisy(100, 0, 1), 60)
    assert len(points) == 60 and points[0][0] < 10 and points[-1][0] > 589
    assert all(98 < value < 102 for _, value in points)


def test_one_sample_is_no_trend() -> None:
    with pytest.raises(ValueError, match="two samples"):
        trend([1.0], [2.0], STRICT)
