"""Texts with their labels, cleaned and surveyed: what is wrong is said with its row and its cure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from callboard_nlp.data import tables
from callboard_nlp.data.rows import Check, Numbers, Source, shown
from callboard_shared.errors import FinalError
from callboard_shared.jobs.nlp.encode import MAX_TEXT_CHARS

MIN_ROWS = 20
"""To train on and to measure on, together."""
_LONGEST_LABEL = 200
_NAMED = 10
_MOST_LABELS_COUNTED = 10_000
_CHECK_ROWS = 4096
_NO_LABEL = frozenset({"", "nan", "null"})
"""As spreadsheets and pandas write a label that is not there."""


@dataclass(frozen=True, slots=True)
class Survey:
    rows: int
    labels: Counter[str]


@dataclass(frozen=True, slots=True)
class Rows:
    texts: list[str]
    labels: list[str]

    def __len__(self) -> int:
        return len(self.texts)


def file_source(what: str, content: BinaryIO) -> Source:
    columns = ("text", "label")
    return Source(what, lambda: tables.records(content, columns), tables.class_names(content, "label"))


def survey(source: Source, check: Check) -> Survey:
    """Read every row once. Raises FinalError: those of ``tables``, and ``empty-rows``, ``missing-labels``,
    ``bad-text``, ``bad-label``, ``too-many-labels``."""
    labels: Counter[str] = Counter()
    no_text, no_label, rows = Numbers(), Numbers(), 0
    for rows, (text, label) in enumerate(_cleaned(source), 1):
        if rows % _CHECK_ROWS == 0:
            check()
        if text is None:
            no_text.add(rows)
        if label is None:
            no_label.add(rows)
        else:
            labels[label] += 1
            if len(labels) > _MOST_LABELS_COUNTED:
                raise too_many_labels(source, labels, _MOST_LABELS_COUNTED)
    if no_text.count:
        raise FinalError(f"{source.what}: {no_text.told('text')} Fill or remove them.", code="empty-rows")
    if no_label.count:
        raise FinalError(
            f"{source.what}: {no_label.told('label')} Fill or remove them.", code="missing-labels"
        )
    if rows == 0:
        raise FinalError(f"{source.what} has no rows. Give at least {MIN_ROWS}.", code="too-few-rows")
    return Survey(rows, labels)


def rows_of(source: Source) -> Iterator[tuple[str, str]]:
    """(text, label) of a source that was surveyed before."""
    for text, label in _cleaned(source):
        assert text is not None and label is not None
        yield text, label


def check_trainable(source: Source, found: Survey, max_labels: int) -> None:
    """Raises FinalError: ``too-few-rows``, ``one-label``, ``too-many-labels``, ``label-with-one-row``."""
    if found.rows < MIN_ROWS:
        raise FinalError(
            f"{source.what} has {found.rows} rows; {MIN_ROWS} are the least to train and measure on, and some "
            "hundred for a useful model. Add rows.",
            code="too-few-rows",
        )
    if len(found.labels) == 1:
        raise FinalError(
            f"{source.what} has one label only ({_listed(found.labels)}): there is nothing to tell apart. Add rows of "
            "another label.",
            code="one-label",
        )
    if len(found.labels) > max_labels:
        raise too_many_labels(source, found.labels, max_labels)
    alone = [label for label, count in found.labels.items() if count == 1]
    if alone:
        raise FinalError(
            f"{source.what} has a single row of {_listed(alone)}: it cannot be both trained and measured on. Add rows "
            "of that label, or remove it.",
            code="label-with-one-row",
        )


def check_known(source: Source, labels: Iterable[str], known: Sequence[str], what: str) -> None:
    """Raises FinalError ``unknown-labels`` if some are not among those known, which were ``what``."""
    unknown = sorted(set(labels).difference(known))
    if unknown:
        raise FinalError(
            f"{source.what} has labels that were not {what}: {_listed(unknown)}. Those known are: {_listed(known)}. "
            "Rename or remove the others.",
            code="unknown-labels",
        )


def too_many_labels(source: Source, labels: Iterable[str], most: int) -> FinalError:
    names = list(labels)
    return FinalError(
        f"{source.what} has {len(names)} different labels, more than {most}: {_listed(names)}. Is `label` the right "
        "column? If all are meant, raise max_labels.",
        code="too-many-labels",
    )


def ordered(labels: Iterable[str], names: list[str] | None) -> list[str]:
    """The labels as a model counts them: as their data set does, else numbers by value, else by alphabet."""
    given = set(labels)
    if names is not None and given <= set(names):
        return list(names)
    if all(_is_whole(label) for label in given):
        return sorted(given, key=int)
    return sorted(given)


def _is_whole(label: str) -> bool:
    return label.removeprefix("-").isdecimal()


def _cleaned(source: Source) -> Iterator[tuple[str | None, str | None]]:
    for number, (text, label) in enumerate(source.read(), 1):
        yield _text(source, number, text), _label(source, number, label)


def _text(source: Source, number: int, value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, str):
        raise FinalError(
            f"{source.what}: the text of row {number} is no text but {shown(value)}. Are the columns mixed up?",
            code="bad-text",
        )
    if not value.strip():
        return None
    # JSON can hold half a surrogate pair, which no tokenizer takes.
    return value[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode()


def _label(source: Source, number: int, value: Any) -> str | None:
    """``1``, ``1.0`` and ``"1"`` are the same; a number becomes its name where the data set has names."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        index = int(value)
        if source.names is None:
            return str(index)
        return source.names[index] if 0 <= index < len(source.names) else None
    if isinstance(value, str) and len(value) <= _LONGEST_LABEL:
        label = value.strip().encode("utf-8", "replace").decode()
        if source.names is not None and label not in source.names and label.isdecimal():
            return _label(source, number, int(label))
        return None if label.lower() in _NO_LABEL else label
    raise FinalError(
        f"{source.what}: the label of row {number} is {shown(value)}; a label is a name of up to {_LONGEST_LABEL} "
        "characters or a whole number. Is `label` the right column?",
        code="bad-label",
    )


def _listed(names: Iterable[str]) -> str:
    some = [repr(name[:40]) for name in list(names)[: _NAMED + 1]]
    return ", ".join(some[:_NAMED]) + (", …" if len(some) > _NAMED else "")
