"""From texts to padded batches and back.

Texts are sorted by length and cut into parts of about ``PART_TOKENS`` padded tokens: the size at which the CPU
engines are fastest (docs/decisions/0004), and one that keeps a long text from slowing the short ones. Lengths
and row counts are rounded up to a few steps, since an engine keeps compiled kernels and buffers for each shape
that it has seen: without it a worker's memory grows for hours.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np

from callboard_nlp.engines.interface import AfterPart, Encoded, Floats, Forward, Ints, Pooling, Vocabulary

PART_TOKENS = 2048


def _steps(*spans: tuple[int, int, int]) -> list[int]:
    return [size for start, stop, step in spans for size in range(start, stop + 1, step)]


_LENGTHS = _steps((8, 32, 4), (40, 64, 8), (80, 128, 16), (160, 256, 32), (320, 512, 64))
_ROWS = _steps((1, 8, 1), (12, 32, 4), (40, 64, 8), (96, 256, 32))


def _round_up(size: int, steps: Sequence[int]) -> int:
    """The next step; beyond the last one, the next multiple of it."""
    if size > steps[-1]:
        return -(-size // steps[-1]) * steps[-1]
    return steps[bisect_left(steps, size)]


class TextEncoder:
    """Tokenizes and batches for an engine's forward pass."""

    def __init__(self, vocabulary: Vocabulary, forward: Forward) -> None:
        self._window, self._pad_id, self._forward = vocabulary.window, vocabulary.pad_id, forward
        self._tokenizer = vocabulary.tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(vocabulary.window)

    @property
    def engine(self) -> str:
        return self._forward.engine

    def encode(
        self, texts: Sequence[str], pooling: Sequence[Pooling], after_part: AfterPart | None = None
    ) -> Encoded:
        encodings = self._tokenizer.encode_batch(texts)
        lengths = np.fromiter((len(e.ids) for e in encodings), np.int64, len(texts))
        truncated = np.fromiter((bool(e.overflowing) for e in encodings), np.bool_, len(texts))
        vectors: Floats | None = None
        done = 0
        for part in self._parts(lengths):
            pooled = self._run([encodings[i].ids for i in part], [pooling[i] for i in part])
            if vectors is None:
                vectors = np.empty((len(texts), pooled.shape[1]), np.float32)
            vectors[part] = pooled
            done += len(part)
            if after_part is not None:
                after_part(done, len(texts))
        if vectors is None:
            vectors = np.empty((0, 0), np.float32)
        return Encoded(vectors, lengths, truncated)

    def _padded(self, length: int) -> int:
        return min(_round_up(length, _LENGTHS), max(length, self._window))

    def _parts(self, lengths: Ints) -> Iterator[Ints]:
        """Indices of the texts of each part, longest first, so that the costliest shape comes once."""
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            most = max(1, PART_TOKENS // self._padded(int(lengths[order[start]])))
            rows = max((step for step in _ROWS if step <= most), default=1)
            yield order[start : start + rows]
            start += rows

    def _run(self, ids: Sequence[Sequence[int]], pooling: Sequence[Pooling]) -> Floats:
        length = self._padded(max(map(len, ids)))
        rows = _round_up(len(ids), _ROWS)
        padded = np.full((rows, length), self._pad_id, np.int64)
        mask = np.zeros((rows, length), np.int64)
        weights = np.zeros((rows, length), np.float32)
        mask[len(ids) :, 0] = 1  # rows that only fill up: attention over nothing would be NaN
        for row, (tokens, how) in enumerate(zip(ids, pooling, strict=True)):
            padded[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
            if how == "cls":
                weights[row, 0] = 1.0
            else:
                weights[row, : len(tokens)] = 1.0 / max(1, len(tokens))
        return self._forward(padded, mask, weights)[: len(ids)]
