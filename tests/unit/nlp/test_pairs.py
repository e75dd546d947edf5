"""Text pairs: every format, and for each mistake an error that names the place and the cure."""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from callboard_nlp.data import pairs
from callboard_nlp.data.rows import Source
from callboard_shared.errors import FinalError
from callboard_shared.worker import JobCanceled

PAIRS = [
    ("the king", "왕"),
    ('he said "no",\nand left', "그는; 떠났다"),
    ("7", "seven"),
    ("😀", " kept as it is "),
]


def nothing() -> None:
    pass


def csv_of(delimiter: str = ",", header: str = "source{}target") -> bytes:
    lines = [delimiter.join('"' + side.replace('"', '""') + '"' for side in pair) for pair in PAIRS]
    return "\r\n".join([header.format(delimiter), *lines]).encode()


OBJECTS = [{"target": target, "id": 1, "source": source} for source, target in PAIRS]
PARQUET = io.BytesIO()
pyarrow.parquet.write_table(pa.Table.from_pylist(OBJECTS), PARQUET)
FILES = {
    "comma": csv_of(),
    "tab": csv_of("\t"),
    "other case": csv_of(";", " Source {}TARGET"),
    "jsonl": "\n".join(json.dumps(one, ensure_ascii=False) for one in OBJECTS).encode(),
    "array": json.dumps(OBJECTS).encode(),
    "parquet": PARQUET.getvalue(),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_every_format_gives_the_same_pairs_as_often_as_it_is_read(content: bytes) -> None:
    source = pairs.file_source(io.BytesIO(content))
    assert pairs.survey(source, nothing) == 4
    assert list(pairs.pairs_of(source)) == list(pairs.pairs_of(source)) == PAIRS


def test_inline_pairs_are_taken_as_they_are() -> None:
    source = pairs.inline_source(PAIRS)
    assert pairs.survey(source, nothing) == 4 and list(pairs.pairs_of(source)) == PAIRS


def test_whole_numbers_are_texts() -> None:
    table = pa.table({"source": [1, 20, 300, 4000], "target": ["a", "b", "c", "d"]})
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    assert next(pairs.pairs_of(pairs.file_source(file))) == ("1", "a")


def rows(*some: tuple[Any, Any]) -> bytes:
    return "\n".join(json.dumps({"source": a, "target": b}) for a, b in some).encode()


BAD: list[tuple[str, bytes, str, str]] = [
    ("other columns", b"english,korean\na,b\n", "missing-columns", "no column source and no column target.*english, korean"),
    ("one column", b"source,goal\na,b\n", "missing-columns", "no column target"),
    ("json without", b'{"source": "a", "text": "b"}', "missing-columns", "no column target"),
    ("empty rows", rows(("a", "b"), ("", "b"), ("  ", "b"), (None, "b"), ("a", "b")), "empty-rows",
     r"3 rows have no source: row 2, 3, 4 .*Fill or remove"),
    ("empty target", b"source,target\na,b\na,\na,b\na,b\n", "empty-rows", "a row has no target: row 2"),
    ("too few", rows(("a", "b"), ("c", "d"), ("e", "f")), "too-few-pairs", "has 3 pairs; 4 are the least"),
    ("one", rows(("a", "b")), "too-few-pairs", "has 1 pair;"),
    ("no rows", b"source,target\n", "too-few-pairs", "has 0 pairs"),
    ("nothing", b"", "empty-file", "empty"),
    ("CP949", "source,target\n가,나\n".encode("cp949"), "not-utf8", r"Line 2 .*iconv"),
    ("UTF-16", "source,target\na,b\n".encode("utf-16"), "not-utf8", "UTF-16"),
    ("a pickle", pickle.dumps([("a", "b")]), "unsupported-format", "pickle"),
    ("no text", rows(("a", ["b"])), "bad-text", r"row 1 has \['b'\] where a text is wanted"),
    ("a truth value", rows(("a", True)), "bad-text", "row 1"),
    ("broken JSON", b'{"source": "a", "target": "b"}\n{"source": ', "bad-json", r'Line 2.*\{"source": "…", "target": "…"\}'),
    ("broken CSV", b'source,target\na,"b\n', "bad-csv", "quotes"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "code", "says"), [one[1:] for one in BAD], ids=[one[0] for one in BAD])
def test_what_cannot_be_used_is_told_with_its_place_and_cure(content: bytes, code: str, says: str) -> None:
    with pytest.raises(FinalError, match=says) as error:
        pairs.survey(pairs.file_source(io.BytesIO(content)), nothing)
    assert error.value.problem_code == code


def test_half_a_surrogate_pair_is_replaced() -> None:
    source = Source("pairs", lambda: [("a\ud800", "b")])
    assert list(pairs.pairs_of(source)) == [("a?", "b")]


def test_reading_can_be_stopped() -> None:
    def stop() -> None:
        raise JobCanceled("The job was canceled.")

    with pytest.raises(JobCanceled):
        pairs.survey(Source("pairs", lambda: [("a", "b")] * 5000), stop)
