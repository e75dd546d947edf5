"""When a training is saved, and what of it Trainer does not save by itself."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

_STATE = "training.json"
_BEST = "best.safetensors"

_LEAST_S, _LEAST_AFTER_EPOCH_S = 5.0, 1.0
_COSTS, _COSTS_AFTER_EPOCH = 30.0, 5.0
_EARLY_SHARE = 0.03
"""Share of the time so far that checkpoints may have taken for the shorter distance after an epoch to hold. Without
it, short epochs would spend a sixth of the time on checkpoints."""


class Rhythm:
    """Saves often enough that a kill costs little, and seldom enough that saving costs less than 4 % of the time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._last = clock()
        self._cost = self._spent = 0.0

    def due(self, *, after_epoch: bool = False) -> bool:
        """After an epoch is a good place: nothing of it is done again."""
        now = self._clock()
        if after_epoch and self._spent <= _EARLY_SHARE * (now - self._began):
            return now - self._last >= max(_LEAST_AFTER_EPOCH_S, _COSTS_AFTER_EPOCH * self._cost)
        return now - self._last >= max(_LEAST_S, _COSTS * self._cost)

    def saving(self) -> None:
        self._saving_since = self._clock()

    def saved(self) -> None:
        self._last = self._clock()
        self._cost = self._last - self._saving_since
        self._spent += self._cost


@dataclass(slots=True)
class TrainingState:
    """What a resumed training must know of the one before.

    history: {epoch, loss, eval_loss, accuracy, f1} by epoch; losses: their sum in the epoch so far, and how many;
    kept: index in ``history`` of the epoch whose weights are kept; matrix: its confusion; tokens: read so far
    """

    history: list[dict[str, float]] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_count: int = 0
    kept: int = 0
    matrix: list[list[int]] = field(default_factory=list)
    tokens: int = 0

    def save(self, folder: Path, best: Path) -> None:
        """Beside Trainer's own files; with the best weights, if they are not the last ones."""
        (folder / _STATE).write_text(json.dumps(asdict(self)))
        if best.exists():
            shutil.copyfile(best, folder / _BEST)
        # A pickle of the arguments, which nothing reads.
        (folder / "training_args.bin").unlink(missing_ok=True)

    @classmethod
    def restored(cls, folder: Path, best: Path) -> Self:
        if (folder / _BEST).exists():
            shutil.copyfile(folder / _BEST, best)
        document: dict[str, Any] = json.loads((folder / _STATE).read_bytes())
        return cls(**document)
