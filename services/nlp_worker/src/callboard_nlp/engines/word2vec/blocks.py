"""A corpus of Word2Vec on disk, in blocks that are trained on one at a time."""

from __future__ import annotations

import math
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from callboard_nlp.engines.word2vec.corpus import LONGEST

_OPERATIONS = 100_000_000
"""Multiplications of a block: less than 0.1 s, after which its thread hears a cancel."""
_LEAST_WORDS = 100


@dataclass(frozen=True, slots=True)
class Block:
    """``before``: the words of the corpus that come before it."""

    number: int
    sentences: bytes
    words: int
    before: int


class Blocks:
    """On the disk of ``folder``: a sentence a line, its words parted by single spaces. A block has no more than
    ``most_words``, or one sentence.

    gensim's kernels read batches that outgrow their 10,000 words by a sentence, and drop that sentence's end; a block
    is one batch that cannot.
    """

    def __init__(self, folder: Path, most_words: int) -> None:
        self.sentences = self.tokens = 0
        self._most_words = min(most_words, LONGEST)
        self._sizes, self._words = array("Q"), array("Q")
        self._size = self._held = 0
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__, nameless: gone with us)

    def add(self, words: list[str]) -> None:
        """A sentence of 1 to ``LONGEST`` words without spaces."""
        if self._held + len(words) > self._most_words:
            self._end_block()
        line = f"{' '.join(words)}\n".encode()
        self._file.write(line)
        self._size, self._held = self._size + len(line), self._held + len(words)
        self.sentences, self.tokens = self.sentences + 1, self.tokens + len(words)

    def end(self) -> None:
        """No more sentences come."""
        self._end_block()
        self._file.flush()

    def __enter__(self) -> Blocks:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._sizes)

    def read(self) -> Iterator[Block]:
        """All blocks, in order; by one reader at a time."""
        before = 0
        self._file.seek(0)
        for number, (size, words) in enumerate(zip(self._sizes, self._words, strict=True)):
            yield Block(number, self._file.read(size), words, before)
            before += words

    def _end_block(self) -> None:
        if self._held:
            self._sizes.append(self._size)
            self._words.append(self._held)
        self._size = self._held = 0


def block_words(vector_size: int, window: int, sg: int, negative: int) -> int:
    """Words of a block for a training with these settings: not by the clock, so that with a seed the blocks are the
    same each time."""
    targets = negative + 1 if negative else math.log2(1_000_000)
    vectors = window * targets * 3 if sg else window * 2 + targets * 3
    return max(_LEAST_WORDS, int(_OPERATIONS / (vectors * vector_size)))
