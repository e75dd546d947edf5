"""Labelled texts: every format, and for each mistake an error that names the place and the cure."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from callboard_nlp.data import hub, labelled, splits, tables
from callboard_nlp.data.labelled import Rows, Survey, file_source
from callboard_nlp.data.rows import Source
from callboard_shared.errors import FinalError, JobError, RetryableError

PAIRS = [("a fine film", "good"), ('he said "no"\nand left, slowly', "bad"), ("서울; 좋아요", "good")]


def nothing() -> None:
    pass


def source(data: bytes) -> Source:
    return file_source("dataset", io.BytesIO(data))


def read(data: bytes) -> list[tuple[str, str]]:
    return list(labelled.rows_of(source(data)))


def surveyed(data: bytes | list[tuple[Any, Any]], max_labels: int = 50) -> Survey:
    given = source(data) if isinstance(data, bytes) else Source("dataset", lambda: iter(data))
    found = labelled.survey(given, nothing)
    labelled.check_trainable(given, found, max_labels)
    return found


def refused(data: bytes | list[tuple[Any, Any]]) -> FinalError:
    with pytest.raises(FinalError) as error:
        surveyed(data)
    return error.value


def csv_of(pairs: list[tuple[str, str]], delimiter: str = ",", header: str = "text{}label") -> bytes:
    quoted = [
        delimiter.join('"' + field.replace('"', '""') + '"' for field in pair) + "\r\n" for pair in pairs
    ]
    return (header.format(delimiter) + "\r\n" + "".join(quoted)).encode()


def jsonl_of(rows: list[Any]) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def parquet_of(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


OBJECTS = [{"text": text, "label": label} for text, label in PAIRS]
FORMATS = {
    "comma": csv_of(PAIRS),
    "semicolon": csv_of(PAIRS, ";"),
    "tab": csv_of(PAIRS, "\t"),
    "byte order mark": b"\xef\xbb\xbf" + csv_of(PAIRS),
    "other case and spaces": csv_of(PAIRS, header=" Text {} LABEL "),
    "jsonl": jsonl_of(OBJECTS),
    "jsonl with empty lines": b"\xef\xbb\xbf\n" + jsonl_of(OBJECTS).replace(b"\n", b"\n\n"),
    "array": json.dumps(OBJECTS).encode(),
    "array over lines": json.dumps(OBJECTS, indent=2, ensure_ascii=False).encode(),
    "parquet": parquet_of(pa.Table.from_pylist(OBJECTS)),
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_rows_come_of_every_format(name: str) -> None:
    assert read(FORMATS[name]) == PAIRS


def test_a_source_can_be_read_again() -> None:
    again = source(FORMATS["array"])
    assert list(labelled.rows_of(again)) == list(labelled.rows_of(again)) == PAIRS


def test_columns_are_found_by_name_among_others() -> None:
    assert read(b"id;label;text;note\n1;good;a, b;\n2;bad;c;x\n") == [("a, b", "good"), ("c", "bad")]


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_elements_of_an_array_may_lie_anywhere_across_what_is_read_at_a_time(size: int) -> None:
    objects = [{"text": f"{number} " + "x" * size, "label": number % 2} for number in range(4)]
    for indent in (None, 1):
        texts = [
            record[0]
            for record in tables.records(io.BytesIO(json.dumps(objects, indent=indent).encode()), ["text"])
        ]
        assert texts == [one["text"] for one in objects]


@pytest.mark.parametrize(
    "data",
    [
        b"text,label\na,1\nb, 1 \n",
        b'{"text": "a", "label": 1}\n{"text": "b", "label": "1"}',
        b'[{"text": "a", "label": 1.0}, {"text": "b", "label": 1}]',
        parquet_of(pa.table({"text": ["a", "b"], "label": pa.array([1, 1], pa.int8())})),
    ],
)
def test_a_label_is_the_same_as_number_and_as_text(data: bytes) -> None:
    assert [label for _, label in read(data)] == ["1", "1"]


def test_names_of_numbered_labels_in_a_parquet_file_are_kept() -> None:
    feature = {"names": ["neg", "pos"], "_type": "ClassLabel"}
    about = json.dumps({"info": {"features": {"text": {"dtype": "string"}, "label": feature}}})
    table = pa.table({"text": ["a", "b"], "label": [1, 0]}).replace_schema_metadata({"huggingface": about})
    assert read(parquet_of(table)) == [("a", "pos"), ("b", "neg")]


def test_labels_are_in_the_order_of_numbers_or_of_the_alphabet_or_of_their_data_set() -> None:
    assert labelled.ordered({"10", "2", "-1"}, None) == ["-1", "2", "10"]
    assert labelled.ordered({"b", "10", "a"}, None) == ["10", "a", "b"]
    assert labelled.ordered({"pos", "neg"}, ["pos", "neg", "mixed"]) == ["pos", "neg", "mixed"]


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.csv", "text,label")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "code", "told"),
    [
        (b"", "empty-file", "JSONL"),
        (b"\xef\xbb\xbf \n\n", "empty-file", "empty"),
        (pickle.dumps([1, 2]), "unsupported-format", "pickle can run code.*CSV"),
        (pickle.dumps([1], protocol=2), "unsupported-format", "pickle"),
        (archive(), "unsupported-format", "zip archive.*CSV"),
        (gzip.compress(b"text,label", mtime=0), "unsupported-format", "gzip"),
        (b"MZ\x90\0\3\0", "unsupported-format", "binary"),
        ("text,label\n좋아요,1\n".encode("utf-16"), "not-utf8", "UTF-16.*iconv"),
        (b"text,label\nok,1\n" + "좋아요,1\n".encode("cp949"), "not-utf8", r"Line 3 \(byte 16 of.*iconv"),
        (b"body,sentiment\na,1\n", "missing-columns", "no column text and no column label.*body, sentiment.*Rename"),
        (b"text;stars\na;1\n", "missing-columns", "no column label; the columns are: text, stars"),
        (b'{"text": "a", "class": 1}', "missing-columns", "no column label.*text, class"),
        (parquet_of(pa.table({"a": [1]})), "missing-columns", "columns are: a"),
        (b"text,label\na,1\nb,c,2\n", "bad-csv", r"Row 2 \(line 3\) has 3 fields.*quotes"),
        (b"text,label\na,1\nb\n", "bad-csv", r"Row 2 \(line 3\) has 1 fields"),
        (b'text,label\na,1\n"b,1\nc,2\n', "bad-csv", "Row 2"),
        (b'{"text": "a", "label": 1}\n{"text": "b" "label": 1}', "bad-json", "Line 2 is not valid JSON"),
        (b'{"text": "a", "label": 1}\n[1]', "bad-json", "Line 2 is no object"),
        (b'[{"text": "a", "label": 1}, {"text": "b"', "bad-json", "Element 2"),
        (b'[{"text": "a", "label": 1}', "bad-json", "Element 2"),
        (b"[" * 100_000, "bad-json", "Element 1"),
        (b"PAR1 and nothing else", "bad-parquet", "whole"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused_with_its_cure(data: bytes, code: str, told: str) -> None:
    error = refused(data)
    assert error.problem_code == code
    import re

    assert re.search(told, error.detail, re.DOTALL), error.detail


def rows(count: int, labels: int = 2) -> list[tuple[Any, Any]]:
    return [(f"text {number}", f"label {number % labels}") for number in range(count)]


def test_enough_rows_of_two_labels_pass() -> None:
    assert surveyed(rows(20)) == Survey(20, {"label 0": 10, "label 1": 10})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "code", "told"),
    [
        ([], "too-few-rows", "no rows"),
        (rows(10), "too-few-rows", "10 rows; 20 are the least"),
        (rows(30, labels=1), "one-label", "one label only.*'label 0'.*Add rows"),
        (rows(200, labels=100), "too-many-labels", "100 different labels, more than 50.*max_labels"),
        ([*rows(30), ("x", "rare")], "label-with-one-row", "single row of 'rare'"),
        ([*rows(3), ("", "a"), *rows(20), (" \n", "a")], "empty-rows", "2 rows have no text: row 4, 25"),
        ([(None, "a")] * 30, "empty-rows", "30 rows have no text: row 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …"),
        ([*rows(30), ("x", None)], "missing-labels", "a row has no label: row 31"),
        ([*rows(30), ("x", float("nan"))], "missing-labels", "row 31"),
        ([*rows(30), ("x", "NaN"), ("x", "")], "missing-labels", "2 rows have no label: row 31, 32"),
        ([*rows(30), (7, "a")], "bad-text", "text of row 31 is no text but 7"),
        ([*rows(30), ("x", 0.5)], "bad-label", "label of row 31 is 0.5"),
        ([*rows(30), ("x", ["a"])], "bad-label", "label of row 31"),
        ([*rows(30), ("x", "y" * 300)], "bad-label", "right column"),
        ([(f"text {n}", f"text {n}") for n in range(10_100)], "too-many-labels", "10001 different labels"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_trained_on_are_refused_with_their_cure(
    data: list[tuple[Any, Any]], code: str, told: str
) -> None:
    import re

    error = refused(data)
    assert error.problem_code == code
    assert re.search(told, error.detail), error.detail


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    assert read(b'{"text": "a \\ud800", "label": 1}') == [("a ?", "1")]


def test_a_long_file_is_left_soon_after_a_cancel() -> None:
    class Canceled(Exception):
        pass

    seen = 0

    def endless() -> Iterator[tuple[str, str]]:
        nonlocal seen
        while True:
            seen += 1
            yield "text", "a"

    def check() -> None:
        raise Canceled

    with pytest.raises(Canceled):
        labelled.survey(Source("dataset", endless), check)
    assert seen < 5000


# --- which rows ---


def split_of(data: list[tuple[str, str]], train: int, evaluation: int, seed: int = 42) -> tuple[Rows, Rows]:
    given = Source("dataset", lambda: iter(data))
    return splits.split(given, labelled.survey(given, nothing), train, evaluation, seed)


def test_the_rows_are_those_that_the_datasets_library_would_take() -> None:
    import datasets

    data = rows(500)
    theirs = datasets.Dataset.from_dict({"text": [text for text, _ in data]}).shuffle(seed=42)["text"]
    train, evaluation = split_of(data, 60, 30)
    assert train.texts == list(theirs[:60]) and evaluation.texts == list(theirs[60:90])
    given = Source("dataset", lambda: iter(data))
    assert splits.sample(given, labelled.survey(given, nothing), 60, 42).texts == train.texts


def test_the_labels_stay_with_their_texts() -> None:
    data = rows(200, labels=4)
    for part in split_of(data, 50, 20):
        assert all((text, label) in data for text, label in zip(part.texts, part.labels, strict=True))


@pytest.mark.parametrize(
    ("count", "train", "evaluation", "sizes"),
    [(24, 1000, 500, (16, 8)), (90, 1000, 500, (60, 30)), (1200, 1000, 500, (800, 400)), (60, 1000, 10, (50, 10)),
     (100, 20, 500, (20, 80)), (1500, 1000, 500, (1000, 500))],
)  # fmt: skip
def test_too_few_rows_are_parted_about_two_to_one(
    count: int, train: int, evaluation: int, sizes: tuple[int, int]
) -> None:
    parts = split_of(rows(count), train, evaluation)
    assert (len(parts[0]), len(parts[1])) == sizes
    assert not set(parts[0].texts) & set(parts[1].texts), "no row is both trained and measured on"


def test_few_rows_of_a_rare_label_are_both_trained_and_measured_on() -> None:
    data = [*rows(60), ("rare 1", "rare"), ("rare 2", "rare")]
    for seed in range(20):
        for part in split_of(data, 1000, 500, seed):
            assert "rare" in part.labels


def test_another_seed_takes_other_rows() -> None:
    assert split_of(rows(500), 50, 20, 1)[0].texts != split_of(rows(500), 50, 20, 2)[0].texts


def test_only_the_rows_taken_are_kept() -> None:
    """A file of a million rows, of which thirty are wanted, costs 8 bytes a row for their order."""
    import tracemalloc

    def read() -> Iterator[tuple[str, str]]:
        return ((f"text {number} " * 5, str(number % 2)) for number in range(200_000))

    given = Source("dataset", read)
    tracemalloc.start()
    splits.split(given, labelled.survey(given, nothing), 20, 10, 42)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000


# --- the hub ---


def loads(monkeypatch: pytest.MonkeyPatch, result: Any) -> None:
    import datasets

    def load_dataset(name: str, token: bool) -> Any:
        assert token is False, "the operator's private data sets are not for every key"
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def test_a_hub_data_set_keeps_its_split_and_the_names_of_its_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["neg", "pos"]),
            "id": datasets.Value("int32"),
        }
    )
    made = {
        split: datasets.Dataset.from_dict(
            {"text": [f"{split} {i}" for i in range(3)], "label": [0, 1, 1], "id": [1, 2, 3]}, features
        )
        for split in ("test", "unsupervised", "train")
    }
    loads(monkeypatch, made)
    train, measure = hub.hub_splits("dataset", "imdb")
    assert list(labelled.rows_of(train)) == [("train 0", "neg"), ("train 1", "pos"), ("train 2", "pos")]
    assert measure is not None and next(iter(labelled.rows_of(measure))) == ("test 0", "neg")


def hub_error(monkeypatch: pytest.MonkeyPatch, result: Any, name: str = "owner/name") -> JobError:
    loads(monkeypatch, result)
    with pytest.raises(JobError) as error:
        hub.hub_splits("dataset", name)
    return error.value


def test_without_a_network_a_hub_data_set_is_retried_and_the_cure_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = hub_error(monkeypatch, ConnectionError("Couldn't reach the hub"))
    assert isinstance(error, RetryableError) and error.problem_code == "dataset-unavailable"
    assert "no network" in error.detail and "Upload the data as a file" in error.detail


def test_a_hub_data_set_that_is_not_there_or_not_usable_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    assert hub_error(monkeypatch, DatasetNotFoundError("no")).problem_code == "dataset-not-found"
    scripted = RuntimeError("Dataset scripts are no longer supported, but found imdb.py")
    assert hub_error(monkeypatch, scripted).problem_code == "dataset-not-usable"
    other = {"train": datasets.Dataset.from_dict({"sentence": ["a"], "label": [1]})}
    assert "sentence, label" in hub_error(monkeypatch, other).detail


@pytest.mark.parametrize("name", ["../secrets", "/etc", "a/b/c", "./x", "hf://x", "csv", "text"])
def test_a_path_is_no_hub_data_set(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert hub_error(monkeypatch, AssertionError("was asked for"), name).problem_code == "dataset-not-found"


def test_a_folder_of_this_machine_is_not_taken_for_a_hub_data_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "imdb").mkdir()
    monkeypatch.chdir(tmp_path)
    assert hub_error(monkeypatch, AssertionError("was read"), "imdb").problem_code == "dataset-not-found"
