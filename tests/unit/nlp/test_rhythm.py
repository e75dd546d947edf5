"""When a training is saved: often enough, and not too often."""

from __future__ import annotations

from callboard_nlp.engines.rhythm import Rhythm


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def train(clock: Clock, rhythm: Rhythm, seconds: float, cost: float, epoch_every: float) -> tuple[int, float]:
    """(checkpoints, seconds that they took) of a training in steps of a tenth of a second."""
    saved, spent, epoch = 0, 0.0, epoch_every
    while clock.now < seconds:
        clock.now += 0.1
        after_epoch = clock.now >= epoch
        epoch += epoch_every * after_epoch
        if rhythm.due(after_epoch=after_epoch):
            rhythm.saving()
            clock.now += cost
            rhythm.saved()
            saved, spent = saved + 1, spent + cost
    return saved, spent


def test_checkpoints_take_less_than_a_fiftieth_of_the_time_whatever_one_costs() -> None:
    for cost in (0.01, 0.5, 4.0):
        for epoch_every in (0.3, 20.0, 10_000.0):
            clock = Clock()
            saved, spent = train(clock, Rhythm(clock), 3600, cost, epoch_every)
            assert spent < 0.02 * 3600 + cost, (cost, epoch_every)
            assert saved >= 3600 / (51 * max(5, 51 * cost)), "a kill costs little"


def test_a_cheap_checkpoint_is_made_every_five_seconds() -> None:
    clock = Clock()
    saved, _ = train(clock, Rhythm(clock), 100, 0.01, 10_000)
    assert 18 <= saved <= 20


def test_an_epochs_end_is_taken_though_the_last_checkpoint_is_young() -> None:
    clock = Clock()
    rhythm = Rhythm(clock)
    clock.now = 2.0
    assert not rhythm.due() and rhythm.due(after_epoch=True)
