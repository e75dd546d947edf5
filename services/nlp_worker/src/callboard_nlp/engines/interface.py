"""What handlers know of an engine, and what an engine must do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

Pooling = Literal["mean", "cls"]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

AfterPart = Callable[[int, int], None]
"""Called between the parts of an encoding with the texts done and the texts in all; may raise to stop it."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """vectors: float32, shape (texts, dimensions), not normalized; tokens: int64, shape (texts,), special
    tokens included and padding not; truncated: bool, shape (texts,), true where a text was cut."""

    vectors: Floats
    tokens: Ints
    truncated: npt.NDArray[np.bool_]


Computes = Literal["embed", "classify"]
"""What a forward pass gives: pooled states, or logits."""


@dataclass(frozen=True, slots=True)
class Classified:
    """probabilities: float32, shape (texts, labels); tokens and truncated as of ``Encoded``."""

    probabilities: Floats
    tokens: Ints
    truncated: npt.NDArray[np.bool_]


class Classifier(Protocol):
    """A model that labels texts."""

    @property
    def engine(self) -> str: ...

    @property
    def labels(self) -> list[str]:
        """By column of the probabilities."""

    def classify(self, texts: Sequence[str], after_part: AfterPart | None = None) -> Classified: ...


@dataclass(frozen=True, slots=True)
class Written:
    """By text: the answer; its tokens; whether it was cut at the most tokens; its score (greater is likelier)."""

    texts: list[str]
    tokens: list[int]
    truncated: list[bool]
    scores: list[float]


class Writer(Protocol):
    """A model that writes texts from texts."""

    @property
    def engine(self) -> str: ...

    def check(self, texts: Sequence[str]) -> None:
        """Raises FinalError ``text-too-long`` if one has more tokens than the model reads."""

    def write(
        self, texts: Sequence[str], max_length: int, beams: int, after_token: AfterPart | None = None
    ) -> Written:
        """An answer a text, in order, each of at most ``max_length`` tokens; ``beams`` 1: greedy. ``after_token`` is
        called after each token with the texts answered so far and in all."""


class Encoder(Protocol):
    """A model that turns texts into vectors."""

    @property
    def engine(self) -> str:
        """What computes, for people: ``openvino bfloat16``."""

    def encode(
        self, texts: Sequence[str], pooling: Sequence[Pooling], after_part: AfterPart | None = None
    ) -> Encoded:
        """One vector a text, in order; ``pooling`` has one entry a text."""


class Forward(Protocol):
    """One pass of a model over a padded batch."""

    @property
    def engine(self) -> str: ...

    def __call__(self, ids: Ints, mask: Ints, weights: Floats) -> Floats:
        """The weighted sums of the last hidden states: (b, s), (b, s), (b, s) -> (b, dimensions). A classifier's
        logits need no weights: -> (b, labels)."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How a model reads. tokenizer: a ``tokenizers.Tokenizer`` without truncation or padding; window: tokens a
    text may have, special tokens included; pad_id: what fills up."""

    tokenizer: Any
    window: int
    pad_id: int
