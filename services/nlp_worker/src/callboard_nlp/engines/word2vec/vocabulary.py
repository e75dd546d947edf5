"""Which words of a corpus a model is made of: counted exactly, in bounded memory."""

from __future__ import annotations

import heapq
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import IO

from callboard_shared.errors import FinalError

Count = tuple[str, int]

_MOST_AT_ONCE = 400_000
"""Different words that are counted in memory; then they are written down and counting begins anew. Some 80 MB."""
_CHECK_WORDS = 100_000


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """``counts``: by word, the most frequent first; ``left_out``: words that occur ``min_count`` times, and yet had to
    be left out; ``rarest``: how often the rarest of ``counts`` occurs."""

    counts: dict[str, int]
    left_out: int
    rarest: int


class WordCounts:
    """Counts words. What does not fit into memory is written to ``folder``, sorted, and merged at the end: no count is
    a guess, however many different words there are."""

    def __init__(self, folder: Path, most_at_once: int = _MOST_AT_ONCE) -> None:
        self._folder, self._most_at_once = folder, most_at_once
        self._counts: Counter[str] = Counter()
        self._written: list[IO[bytes]] = []

    def __enter__(self) -> WordCounts:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._written:
            part.close()

    def add(self, words: list[str]) -> None:
        self._counts.update(words)
        if len(self._counts) > self._most_at_once:
            self._write_down()

    def vocabulary(self, min_count: int, most: int, check: Callable[[], None]) -> Vocabulary:
        """The words that occur ``min_count`` times, but only the ``most`` most frequent ones; this object is empty
        afterwards. ``check`` is called now and then; it may raise. Raises FinalError ``no-vocabulary``."""
        if self._written:
            self._merge(check)
        frequent: Counter[int] = Counter()  # how many words occur so often
        for number, (_, count) in enumerate(self._totals()):
            if number % _CHECK_WORDS == 0:
                check()
            if count >= min_count:
                frequent[count] += 1
        if not frequent:
            raise self._no_vocabulary(min_count)
        rarest, spare = _cut_at(frequent, most)
        counts = {}
        for word, count in self._totals():
            if count > rarest or (count == rarest and spare > 0):
                counts[word] = count
                spare -= count == rarest
        self._counts = Counter()
        ordered = dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))
        return Vocabulary(ordered, frequent.total() - len(ordered), rarest)

    def _totals(self) -> Iterator[Count]:
        """Each word once, in the order of their spelling."""
        if not self._written:
            yield from sorted(self._counts.items())
            return
        yield from ((word.decode(), count) for word, count in _read(self._written[0]))

    def _write_down(self) -> None:
        part = self._new_part()
        part.writelines(f"{word} {self._counts[word]}\n".encode() for word in sorted(self._counts))
        self._counts = Counter()

    def _merge(self, check: Callable[[], None]) -> None:
        """All that was written down, into one part."""
        self._write_down()
        parts = list(self._written)
        whole = self._new_part()
        merged = heapq.merge(*map(_read, parts))
        for number, (word, counts) in enumerate(groupby(merged, key=itemgetter(0))):
            if number % _CHECK_WORDS == 0:
                check()
            whole.write(b"%b %d\n" % (word, sum(count for _, count in counts)))
        for part in parts:
            part.close()
        self._written = [whole]

    def _new_part(self) -> IO[bytes]:
        part = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        self._written.append(part)
        return part

    def _no_vocabulary(self, min_count: int) -> FinalError:
        best = heapq.nsmallest(5, self._totals(), key=lambda one: (-one[1], one[0]))
        most = ", ".join(f"{word} ({count})" for word, count in best)
        return FinalError(
            f"No word occurs {min_count} times. The most frequent are: {most}. Lower min_count, or give more text.",
            code="no-vocabulary",
        )


def _read(part: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """In the order of their spelling, which UTF-8 keeps."""
    part.seek(0)
    for line in part:
        word, _, count = line.rpartition(b" ")
        yield word, int(count)


def _cut_at(frequent: Counter[int], most: int) -> tuple[int, int]:
    """The least count of the ``most`` most frequent words, and how many with just that count have room."""
    room = most
    for count in sorted(frequent, reverse=True):
        if frequent[count] >= room:
            return count, room
        room -= frequent[count]
    return count, frequent[count]
