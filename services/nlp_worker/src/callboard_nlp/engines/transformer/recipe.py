"""What goes into the training of a Transformer and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Architecture:
    """Of Vaswani et al. 2017, with its names as in ``torch.nn.Transformer``."""

    d_model: int
    nhead: int
    num_encoder_layers: int
    num_decoder_layers: int
    dim_feedforward: int
    dropout: float

    def parameters(self, vocabulary_size: int) -> int:
        """How many the model has."""
        width, inner = self.d_model, self.dim_feedforward
        attention, norm = 4 * width * (width + 1), 2 * width
        feed_forward = 2 * width * inner + inner + width
        encoder = self.num_encoder_layers * (attention + feed_forward + 2 * norm)
        decoder = self.num_decoder_layers * (2 * attention + feed_forward + 3 * norm)
        return vocabulary_size * width + encoder + decoder + 2 * norm


@dataclass(frozen=True, slots=True)
class Recipe:
    """As the job's input says; ``threads`` of the CPU. max_length: tokens of a side, marks not counted."""

    architecture: Architecture
    learning_rate: float
    warmup_steps: int
    decay: Literal["none", "linear"]
    label_smoothing: float
    epochs: int
    batch_size: int
    max_length: int
    vocabulary_size: int
    eval_share: float
    seed: int
    threads: int


@dataclass(frozen=True, slots=True)
class Trained:
    """``history``: {epoch, loss, eval_loss, accuracy} by epoch, the last two only if pairs were measured on;
    ``tokens``: read and written while training, padding not included."""

    history: list[dict[str, Any]]
    vocabulary_size: int
    parameters: int
    train_pairs: int
    eval_pairs: int
    skipped_pairs: int
    steps: int
    tokens: int
