"""Rows of an uploaded table. What kind it is, its bytes tell: names and media types are often wrong.

Files are read from front to back with a bounded memory, however large they are.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO

from callboard_shared.errors import FinalError

_FORMATS = "CSV, TSV, JSONL, a JSON array of objects, or Parquet"
_BINARY = (
    (b"\x80\x02", "a pickle"), (b"\x80\x03", "a pickle"), (b"\x80\x04", "a pickle"), (b"\x80\x05", "a pickle"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook"), (b"\x1f\x8b", "packed with gzip"),
    (b"BZh", "packed with bzip2"), (b"\xfd7zXZ", "packed with xz"), (b"\x28\xb5\x2f\xfd", "packed with zstd"),
    (b"ARROW1", "an Arrow file"), (b"%PDF", "a PDF"), (b"\x89PNG", "a picture"), (b"\xff\xd8\xff", "a picture"),
    (b"SQLite format 3", "an SQLite database"), (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
)  # fmt: skip
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LONGEST_LINE = 64 * 1024 * 1024
_LONGEST_FIELD = 16 * 1024 * 1024
"""Characters. A quote that is never closed swallows the rest of the file: it is found out here."""
_PIECE = 1024 * 1024
_BATCH = 1024

_NO_JSON = (ValueError, RecursionError)
"""What json raises: also for a number of thousands of digits, and for what is nested thousands of times."""

Record = tuple[Any, ...]


def records(content: BinaryIO, columns: Sequence[str]) -> Iterator[Record]:
    """The values of ``columns`` by row, None where a row has none.

    Raises FinalError, naming the place and the cure: ``empty-file``, ``unsupported-format``, ``not-utf8``,
    ``missing-columns``, ``bad-csv``, ``bad-json``, ``bad-parquet``.
    """
    content.seek(0)
    head = content.read(8192)
    content.seek(0)
    if head.startswith(b"PAR1"):
        return _of_parquet(content, columns)
    _refuse_binary(head)
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if not start:
        raise FinalError(f"The file is empty. Give {_FORMATS}.", code="empty-file")
    if start.startswith(b"["):
        return _of_objects(_array(content, columns), columns, "Element")
    if start.startswith(b"{"):
        return _of_objects(_json_lines(content, columns), columns, "Line")
    return _of_csv(content, columns)


def class_names(content: BinaryIO, column: str) -> list[str] | None:
    """The label names that the ``datasets`` library wrote into a Parquet file beside its numbers, if it did."""
    content.seek(0)
    if content.read(4) != b"PAR1":
        return None
    metadata = _parquet(content).schema_arrow.metadata or {}
    try:
        feature = json.loads(metadata[b"huggingface"])["info"]["features"][column]
        return [str(name) for name in feature["names"]]
    except (KeyError, TypeError, ValueError):
        return None


def missing_columns(wanted: Sequence[str], there: Sequence[str]) -> FinalError:
    missing = [name for name in wanted if name not in there]
    shown = ", ".join(name[:60] for name in there[:20]) or "none"
    return FinalError(
        f"There is no column {' and no column '.join(missing)}; the columns are: {shown}. Rename yours to "
        f"{', '.join(wanted)} (in a CSV file the first line names the columns).",
        code="missing-columns",
    )


def _refuse_binary(head: bytes) -> None:
    for start, what in _BINARY:
        if head.startswith(start):
            why = " A pickle can run code when it is read, so none is." if what == "a pickle" else ""
            raise FinalError(f"The file is {what}.{why} Give {_FORMATS}.", code="unsupported-format")
    if head.startswith(_UTF16):
        raise _not_utf8("The file is UTF-16", "UTF-16")
    if b"\0" in head:
        raise FinalError(
            f"The file is binary, of a kind not known here. Give {_FORMATS}.", code="unsupported-format"
        )


def _not_utf8(where: str, encoding: str = "CP949") -> FinalError:
    return FinalError(
        f"{where}, not UTF-8. Save it as UTF-8, for example with: iconv -f {encoding} -t UTF-8 old.csv > new.csv",
        code="not-utf8",
    )


# --- text ---


def _lines(content: BinaryIO) -> Iterator[str]:
    """Lines with their ends. No byte of a longer UTF-8 character looks like a line's end, so each is decoded alone."""
    offset = 0
    for number, line in enumerate(iter(lambda: content.readline(_LONGEST_LINE), b""), 1):
        if len(line) == _LONGEST_LINE:
            raise FinalError(
                f"Line {number} is longer than 64 MB. Give {_FORMATS}.", code="unsupported-format"
            )
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise _not_utf8(
                f"Line {number} (byte {offset + error.start} of the file) is in another encoding"
            ) from None
        offset += len(line)


def _of_csv(content: BinaryIO, columns: Sequence[str]) -> Iterator[Record]:
    csv.field_size_limit(_LONGEST_FIELD)
    lines = (line for line in _lines(content))
    first = next((line for line in lines if line.strip()), "")
    reader = csv.reader(chain([first], lines), delimiter=_delimiter(first, columns), strict=True)
    number = 0
    try:
        header = next(reader)
        places, width = _places(header, columns), len(header)
        for row in reader:
            if not row:
                continue  # an empty line
            number += 1
            if len(row) < width or any(row[width:]):
                raise _bad_csv(
                    f"Row {number} (line {reader.line_num}) has {len(row)} fields, the first line {width}"
                )
            yield tuple(row[place] for place in places)
    except csv.Error as error:
        raise _bad_csv(f"Row {number + 1} (near line {reader.line_num}) cannot be read: {error}") from None


def _places(header: Sequence[str], columns: Sequence[str]) -> list[int]:
    """Where the columns stand. Names count without spaces around them, and in any case."""
    names = [name.strip().casefold() for name in header]
    if any(column not in names for column in columns):
        raise missing_columns(columns, [name.strip() for name in header])
    return [names.index(column) for column in columns]


def _bad_csv(what: str) -> FinalError:
    return FinalError(
        f'{what}. Put texts that hold the separator, quotes or line ends into "quotes", and double the quotes '
        "within them; or give JSONL.",
        code="bad-csv",
    )


def _delimiter(header: str, columns: Sequence[str]) -> str:
    """The separator with which the first line names the most of the columns wanted, and then the most at all."""

    def named(delimiter: str) -> tuple[int, int]:
        names = [name.strip().strip('"').casefold() for name in header.strip().split(delimiter)]
        return len(set(names).intersection(columns)), len(names)

    return max(",;\t|", key=named)


# --- JSON ---


def _of_objects(values: Iterator[tuple[int, Any]], columns: Sequence[str], what: str) -> Iterator[Record]:
    for index, (number, value) in enumerate(values):
        if not isinstance(value, dict):
            raise _bad_json(f"{what} {number} is no object", columns)
        keys = {str(key).strip().casefold(): key for key in reversed(value)}
        if index == 0 and any(column not in keys for column in columns):
            raise missing_columns(columns, list(value))
        yield tuple(value.get(keys.get(column)) for column in columns)


def _json_lines(content: BinaryIO, columns: Sequence[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(_lines(content), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except _NO_JSON as error:
                raise _bad_json(f"Line {number} is not valid JSON: {error}", columns) from None


def _array(content: BinaryIO, columns: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """(number from 1, element) of a JSON array, decoded one by one: the array is never whole in memory."""
    decoder, lines = json.JSONDecoder(), _lines(content)
    text, number = next(lines).lstrip()[1:], 0
    while True:
        text = text.lstrip()
        if number and text.startswith(","):
            text = text[1:].lstrip()
        if text.startswith("]"):
            return
        try:
            value, end = decoder.raw_decode(text)
        except _NO_JSON as error:
            # Perhaps its end is still to come. Twice as much each time, so that a long one is not tried for ever.
            more = _more(lines, max(_PIECE, len(text)))
            if not more or len(text) > _LONGEST_LINE:
                raise _bad_json(
                    f"Element {number + 1} of the array is not valid JSON: {error}", columns
                ) from None
            text += more
            continue
        number, text = number + 1, text[end:]
        yield number, value


def _more(lines: Iterator[str], characters: int) -> str:
    taken: list[str] = []
    while characters > 0 and (line := next(lines, "")):
        taken.append(line)
        characters -= len(line)
    return "".join(taken)


def _bad_json(what: str, columns: Sequence[str]) -> FinalError:
    example = ", ".join(f'"{column}": "…"' for column in columns)
    return FinalError(f"{what}. Give an object a line ({{{example}}}), or an array of them.", code="bad-json")


# --- Parquet ---


def _parquet(content: BinaryIO) -> Any:
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(content)
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # ValueError: names that are no UTF-8
        raise _bad_parquet(error) from None


def _of_parquet(content: BinaryIO, columns: Sequence[str]) -> Iterator[Record]:
    import pyarrow

    file = _parquet(content)
    there = list(file.schema_arrow.names)
    names = {name.strip().casefold(): name for name in reversed(there)}
    if any(column not in names for column in columns):
        raise missing_columns(columns, there)
    wanted = [names[column] for column in columns]
    try:
        for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
            yield from zip(*(batch.column(name).to_pylist() for name in wanted), strict=True)
    except (
        pyarrow.ArrowException,
        OSError,
        ValueError,
        OverflowError,
    ) as error:  # also times beyond year 9999
        raise _bad_parquet(error) from None


def _bad_parquet(error: Exception) -> FinalError:
    return FinalError(
        f"The Parquet file cannot be read: {error}. Is it whole? Write it again.", code="bad-parquet"
    )
