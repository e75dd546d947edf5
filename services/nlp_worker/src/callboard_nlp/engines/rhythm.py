"""When a training is saved."""

from __future__ import annotations

import time
from collections.abc import Callable

_LEAST_S, _LEAST_AFTER_EPOCH_S = 5.0, 1.0
_COSTS = 50.0
_SHARE = 0.02


class Rhythm:
    """Saves often enough that a kill costs little: as soon as fifty times what the last checkpoint took is over, and
    five seconds; after an epoch, of which nothing is done again then, earlier. And seldom enough that the training
    waits for checkpoints less than 2 % of the time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._last = clock()
        self._cost = self._spent = 0.0

    def due(self, *, after_epoch: bool = False) -> bool:
        now = self._clock()
        if self._spent + self._cost > _SHARE * (now - self._began):
            return False
        since = now - self._last
        return since >= max(_LEAST_S, _COSTS * self._cost) or (after_epoch and since >= _LEAST_AFTER_EPOCH_S)

    def saving(self) -> None:
        self._saving_since = self._clock()

    def saved(self) -> None:
        self._last = self._clock()
        self._cost = self._last - self._saving_since
        self._spent += self._cost
