"""What goes into a training and what comes out of it; no library is needed to say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from callboard_vision.engines.interface import VisionTask

Measures = dict[str, float]
"""``epoch`` and what was measured in it: losses, and what ``measures.py`` names."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """As the job's input says. ``learning_rate``: of AdamW, None for ultralytics' own choice of both; ``threads``: of
    the CPU; ``cache``: a folder that outlives the job, for what ultralytics and matplotlib keep."""

    task: VisionTask
    epochs: int
    image_size: int
    batch_size: int
    learning_rate: float | None
    patience: int
    freeze: int | None
    seed: int
    threads: int
    cache: Path


@dataclass(frozen=True, slots=True)
class Batch:
    """After one batch: ``batch`` of ``batches`` in ``epoch`` (all from 1); ``losses``: means of the epoch so far."""

    epoch: int
    batch: int
    batches: int
    losses: Measures


@dataclass(frozen=True, slots=True)
class Trained:
    """``best``: weights, a file of ultralytics'; ``run``: the folder with its plots; ``kept``: what was measured of
    ``best`` in the end."""

    best: Path
    run: Path
    history: list[Measures]
    kept: Measures


@dataclass(frozen=True, slots=True)
class Telling:
    """What a training calls; each may raise, and ends it then.

    check: between batches, also of those that are measured; on_epoch: its last batch, and the history's entry; save:
    takes over a folder, to keep it as the checkpoint after an epoch (from 1)
    """

    check: Callable[[], None]
    on_batch: Callable[[Batch], None]
    on_epoch: Callable[[Batch, Measures], None]
    save: Callable[[Path, int], None]
