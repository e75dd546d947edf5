"""Which rows are trained on, and which only measured on.

One permutation of all rows with the seed, as ``Dataset.shuffle(seed).select(…)`` of the ``datasets`` library makes it,
so a recipe written for that library gives the same rows here. Only the rows taken are kept: the source is read once
for its survey and once more to take them. What grows with the file is the permutation, 8 bytes a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from callboard_nlp.data.labelled import Rows, Survey, rows_of
from callboard_nlp.data.rows import Source

_EVAL_SHARE = 3
"""Of too few rows one of so many is measured on."""

Indices = npt.NDArray[np.int64]


def sample(source: Source, found: Survey, samples: int, seed: int) -> Rows:
    """At most ``samples`` rows, shuffled."""
    return _taken(source, np.random.default_rng(seed).permutation(found.rows)[:samples])


def split(
    source: Source, found: Survey, train_samples: int, eval_samples: int, seed: int
) -> tuple[Rows, Rows]:
    """Rows to train on and rows to measure on, none in both.

    Where there are too few for both, about a third is measured on, of each label alike.
    """
    order = np.random.default_rng(seed).permutation(found.rows)
    if found.rows >= train_samples + eval_samples:
        taken = _taken(source, order[: train_samples + eval_samples])
        return _part(taken, range(train_samples)), _part(taken, range(train_samples, len(taken)))
    taken = _taken(source, order)
    measured = min(eval_samples, max(found.rows - train_samples, found.rows // _EVAL_SHARE))
    chosen = _of_each_label(taken.labels, measured)
    rest = [place for place in range(len(taken)) if place not in chosen][:train_samples]
    return _part(taken, rest), _part(taken, sorted(chosen)[:eval_samples])


def _of_each_label(labels: Sequence[str], wanted: int) -> set[int]:
    """About ``wanted`` places, the same share of every label; one at least, and never all."""
    places: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    share = wanted / len(labels)
    return {
        place
        for of_label in places.values()
        for place in of_label[: min(len(of_label) - 1, max(1, round(len(of_label) * share)))]
    }


def _taken(source: Source, indices: Indices) -> Rows:
    """The rows at these indices, in their order."""
    slots = dict(zip(indices.tolist(), range(len(indices)), strict=True))
    texts, labels = [""] * len(indices), [""] * len(indices)
    last = int(indices.max())
    for index, (text, label) in enumerate(rows_of(source)):
        slot = slots.get(index)
        if slot is not None:
            texts[slot], labels[slot] = text, label
        if index == last:
            break
    return Rows(texts, labels)


def _part(rows: Rows, places: Sequence[int]) -> Rows:
    return Rows([rows.texts[place] for place in places], [rows.labels[place] for place in places])
