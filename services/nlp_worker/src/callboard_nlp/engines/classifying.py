"""Texts to labels: an encoder's batching over a forward pass that gives logits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from callboard_nlp.engines.batching import TextEncoder
from callboard_nlp.engines.interface import AfterPart, Classified, Floats


class TextClassifier:
    """``labels`` by column: the names in the model's ``id2label``, LABEL_0, LABEL_1, … where it has none.

    One label of several: softmax. A model of several labels at once (``problem_type``
    multi_label_classification), or of a single one: a sigmoid each, so they need not sum to 1.
    """

    def __init__(self, encoder: TextEncoder, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_bytes())
        named = {int(index): str(label) for index, label in (config.get("id2label") or {}).items()}
        count = max(named, default=int(config.get("num_labels") or 2) - 1) + 1
        self.labels = [named.get(index, f"LABEL_{index}") for index in range(count)]
        self._each_alone = config.get("problem_type") == "multi_label_classification" or count == 1
        self._encoder = encoder

    @property
    def engine(self) -> str:
        return self._encoder.engine

    def classify(self, texts: Sequence[str], after_part: AfterPart | None = None) -> Classified:
        # The encoder's "vectors" are logits here; pooling is the model's own.
        encoded = self._encoder.encode(texts, ["cls"] * len(texts), after_part)
        probabilities = _sigmoid(encoded.vectors) if self._each_alone else softmax(encoded.vectors)
        return Classified(probabilities, encoded.tokens, encoded.truncated)


def softmax(logits: Floats) -> Floats:
    """Over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    return shares


def _sigmoid(logits: Floats) -> Floats:
    shares: Floats = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return shares
