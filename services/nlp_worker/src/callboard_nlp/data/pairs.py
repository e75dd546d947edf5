"""Text pairs, cleaned and surveyed: what is wrong is said with its row and its cure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from callboard_nlp.data import tables
from callboard_nlp.data.rows import Check, Numbers, Source, shown
from callboard_shared.errors import FinalError

MIN_PAIRS = 4
"""To train on and to measure on, together."""
COLUMNS = ("source", "target")
_CHECK_ROWS = 4096


def inline_source(pairs: Sequence[tuple[str, str]]) -> Source:
    return Source("pairs", lambda: pairs)


def file_source(content: BinaryIO) -> Source:
    return Source("file", lambda: tables.records(content, COLUMNS))


def survey(source: Source, check: Check) -> int:
    """Read every pair once; gives how many there are. Raises FinalError: those of ``tables``, and ``empty-rows``,
    ``bad-text``, ``too-few-pairs``."""
    empty, count = {column: Numbers() for column in COLUMNS}, 0
    for count, pair in enumerate(_cleaned(source), 1):
        if count % _CHECK_ROWS == 0:
            check()
        for column, text in zip(COLUMNS, pair, strict=True):
            if text is None:
                empty[column].add(count)
    for column, numbers in empty.items():
        if numbers.count:
            raise FinalError(f"{source.what}: {numbers.told(column)} Fill or remove them.", code="empty-rows")
    if count < MIN_PAIRS:
        raise FinalError(
            f"{source.what} has {count} pair{'s' * (count != 1)}; {MIN_PAIRS} are the least to train and measure on, "
            "and some thousands for a useful model. Add pairs.",
            code="too-few-pairs",
        )
    return count


def pairs_of(source: Source) -> Iterator[tuple[str, str]]:
    """(source, target) of what was surveyed before."""
    for first, second in _cleaned(source):
        assert first is not None and second is not None
        yield first, second


def _cleaned(source: Source) -> Iterator[tuple[str | None, str | None]]:
    pairs: Iterable[tuple[Any, ...]] = source.read()
    for number, (first, second) in enumerate(pairs, 1):
        yield _text(source, number, first), _text(source, number, second)


def _text(source: Source, number: int, value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # a column of numbers is text to a Transformer
    if not isinstance(value, str):
        raise FinalError(
            f"{source.what}: row {number} has {shown(value)} where a text is wanted. Are `source` and `target` the "
            "right columns?",
            code="bad-text",
        )
    # JSON can hold half a surrogate pair, which no tokenizer takes.
    return value.encode("utf-8", "replace").decode() if value.strip() else None
