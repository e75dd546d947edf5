"""Pairs as numbers, 4 bytes a token, and the batches that are trained and measured on."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from callboard_nlp.engines.transformer.tokenizer import BEGIN, END, PAD, PairTokenizer

_ENCODED = 1024
"""Pairs between two looks whether the job is still wanted."""
_SORTED = 64
"""Batches whose pairs are sorted by length together: enough for little padding, few enough to stay shuffled."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """source (b, s), ended; target (b, t), begun; wanted (b, t): what follows each token of the target, ended."""

    source: Tensor
    target: Tensor
    wanted: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(
            *(side.to(device, non_blocking=True) for side in (self.source, self.target, self.wanted))
        )


class Side:
    """The sources or the targets: all their tokens one after the other."""

    def __init__(self) -> None:
        self._ids, self._ends = array("i"), array("q", [0])

    def add(self, ids: Sequence[int]) -> None:
        self._ids.extend(ids)
        self._ends.append(len(self._ids))

    def __getitem__(self, index: int) -> Sequence[int]:
        return self._ids[self._ends[index] : self._ends[index + 1]]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def lengths(self, rows: Indices) -> Indices:
        """Tokens by row."""
        ends = np.frombuffer(self._ends, np.int64)
        return ends[rows + 1] - ends[rows]


class Pairs:
    """``skipped``: pairs of which a side was too long; ``shortest``: the longer side's tokens of the least of them."""

    def __init__(self) -> None:
        self.sources, self.targets = Side(), Side()
        self.skipped, self.shortest = 0, 0

    @classmethod
    def encoded(
        cls,
        tokenizer: PairTokenizer,
        texts: Iterable[tuple[str, str]],
        longest: int,
        check: Callable[[], None],
    ) -> Pairs:
        pairs, rows = cls(), iter(texts)
        while some := list(islice(rows, _ENCODED)):
            check()
            ids = tokenizer.encode([text for pair in some for text in pair])
            for source, target in zip(ids[0::2], ids[1::2], strict=True):
                length = max(len(source), len(target))
                if length <= longest:
                    pairs.sources.add(source)
                    pairs.targets.add(target)
                else:
                    pairs.skipped += 1
                    pairs.shortest = min(pairs.shortest or length, length)
        return pairs

    def __len__(self) -> int:
        return len(self.sources)

    def batch(self, rows: Indices) -> Batch:
        sources = padded([[*self.sources[row], END] for row in rows])
        begun = padded([[BEGIN, *self.targets[row]] for row in rows])
        wanted = padded([[*self.targets[row], END] for row in rows])
        return Batch(sources, begun, wanted)

    def by_length(self, rows: Indices) -> Indices:
        """The rows from short to long, by target and then source."""
        return rows[np.lexsort((self.sources.lengths(rows), self.targets.lengths(rows)))]


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """(rows, the longest one's length)."""
    filled = np.full((len(rows), max(map(len, rows))), PAD, np.int64)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = row
    return torch.from_numpy(filled)


def split(count: int, eval_share: float, seed: int) -> tuple[Indices, Indices]:
    """(rows to train on, rows to measure on); of the latter one at least, unless the share is 0."""
    order = np.random.default_rng(seed).permutation(count)
    measured = min(count - 1, max(1, round(count * eval_share))) if eval_share else 0
    return order[measured:], order[:measured]


def epoch(pairs: Pairs, rows: Indices, batch_size: int, seed: tuple[int, int]) -> list[Indices]:
    """The batches of one epoch, shuffled; each of pairs of like length. The same for the same seed."""
    random = np.random.default_rng(seed)
    shuffled, pool = random.permutation(rows), batch_size * _SORTED
    batches = [
        batch
        for start in range(0, len(shuffled), pool)
        for batch in in_order(pairs.by_length(shuffled[start : start + pool]), batch_size)
    ]
    return [batches[place] for place in random.permutation(len(batches))]


def in_order(rows: Indices, batch_size: int) -> Iterator[Indices]:
    return (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))
