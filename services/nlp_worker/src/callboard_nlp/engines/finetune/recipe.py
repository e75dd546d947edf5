"""What goes into a fine-tuning and what comes out of it; no library is needed to say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Recipe:
    """As the job's input says; ``threads`` of the CPU.

    by_length: texts of like length come together, which is sooner done and a little less random; bf16_on_cpu: mixed
    precision as on a GPU, on processors that compute with bfloat16
    """

    epochs: int
    train_batch_size: int
    eval_batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    max_length: int
    padding: Literal["dynamic", "max_length"]
    seed: int
    save_steps: int
    early_stopping_patience: int | None
    class_weights: bool
    threads: int
    by_length: bool = False
    bf16_on_cpu: bool = False


@dataclass(frozen=True, slots=True)
class Tuned:
    """``history``: {epoch, loss, eval_loss, accuracy, f1} by epoch; ``kept``: that of the weights that are kept;
    ``tokens``: read while training, padding not included."""

    history: list[dict[str, float]]
    kept: dict[str, float]
    matrix: list[list[int]]
    steps: int
    tokens: int
