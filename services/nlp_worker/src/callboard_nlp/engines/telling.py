"""What a training in steps tells, and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree


@dataclass(frozen=True, slots=True)
class Step:
    """After one step: ``step`` of ``steps`` in all, within ``epoch`` (from 1)."""

    step: int
    steps: int
    epoch: int
    loss: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Telling:
    """What the training calls, and how it is stopped: each may raise.

    check: between steps and between batches that are measured; on_epoch: its last step, and the history's entry;
    save: takes a folder over, to keep it as the checkpoint of a step
    """

    check: Callable[[], None]
    on_step: Callable[[Step], None]
    on_epoch: Callable[[Step, dict[str, float]], None]
    save: Callable[[Path, int], None]


def silent() -> Telling:
    """For a training that nobody watches, and that begins anew if it is killed: checkpoints are deleted at once.

    Kept, they fill the memory of a container, in which its temporary files lie: 270 MB each, every few seconds.
    """
    return Telling(
        lambda: None, lambda step: None, lambda step, measured: None, lambda folder, step: rmtree(folder)
    )
