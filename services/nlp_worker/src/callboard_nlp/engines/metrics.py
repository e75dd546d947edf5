"""How good labels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class OfLabel:
    label: str
    precision: float
    recall: float
    f1: float
    samples: int


@dataclass(frozen=True, slots=True)
class Measured:
    """precision, recall, f1: macro means over the labels that occur, as true or as predicted ones.
    matrix: by label, row the true one, column the predicted one."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    by_label: list[OfLabel]
    matrix: list[list[int]]


def measured(truth: Numbers, predicted: Numbers, labels: Sequence[str]) -> Measured:
    """``truth`` and ``predicted``: places in ``labels``, shape (rows,), one row at least."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    every = np.arange(len(labels))
    each = precision_recall_fscore_support(truth, predicted, labels=every, zero_division=0)
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, average="macro", zero_division=0
    )
    return Measured(
        float(np.mean(truth == predicted)),
        float(precision),
        float(recall),
        float(f1),
        [
            OfLabel(label, float(p), float(r), float(f), int(n))
            for label, p, r, f, n in zip(labels, *each, strict=True)
        ],
        confusion_matrix(truth, predicted, labels=every).tolist(),
    )
