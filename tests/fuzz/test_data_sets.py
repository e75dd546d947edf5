"""What reads data sets and batches of strangers gives their rows, or the one error that it is documented to give."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import pyarrow
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import parquet
from search import searched
from spoiling import DIGITS, TEXTS, spoiled

from callboard_gateway.key_stream import places_of
from callboard_nlp.data.labelled import file_source, survey
from callboard_nlp.data.tables import records
from callboard_shared.batches.dialects import OpenAIWords, OwnWords, custom_id_of
from callboard_shared.batches.lines import LineNumbers, lines_of
from callboard_shared.documents import parse_json
from callboard_shared.errors import CallboardError, FinalError, Invalid
from callboard_vision.data.archive import Archive
from callboard_vision.data.description import read_description
from callboard_vision.data.faults import Faults
from callboard_vision.data.labels import Form, Labels, read_labels

TABLE_FAULTS = {
    "empty-file", "unsupported-format", "not-utf8", "missing-columns", "bad-csv", "bad-json", "bad-parquet",
}  # fmt: skip
SURVEY_FAULTS = TABLE_FAULTS | {
    "empty-rows", "missing-labels", "bad-text", "bad-label", "too-many-labels", "too-few-rows",
}  # fmt: skip
ROWS = [("good film", "1"), ('a "fine", film', "1"), ("나쁜 영화", "0"), ("bad\nfilm", "0")]


def a_csv() -> bytes:
    made = io.StringIO()
    csv.writer(made).writerows([("text", "label"), *ROWS])
    return made.getvalue().encode()


def json_lines() -> bytes:
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS).encode()


def a_parquet() -> bytes:
    made = io.BytesIO()
    texts, labels = zip(*ROWS, strict=True)
    parquet.write_table(pyarrow.table({"text": texts, "label": list(map(int, labels))}), made)
    return made.getvalue()


# --- tables ---

NUMBERS = DIGITS.map(lambda digits: f'{{"text": "a", "label": {digits}}}'.encode())


@searched(150, 10_000)
@given(
    st.one_of(
        spoiled(a_csv()),
        spoiled(json_lines()),
        spoiled(b"[" + b",".join(json_lines().splitlines()) + b"]"),
        spoiled(a_parquet()),
        st.text(max_size=200).map(lambda text: f"text,label\n{text}".encode("utf-8", "surrogatepass")),
        st.binary(max_size=200),
        NUMBERS,
        NUMBERS.map(lambda line: b"[" + line + b"]"),
    )
)
@example(b"[" * 100_000)
@example(b'{"text": ' * 50_000)
@example(b'{"text": "\\ud800", "label": "1"}')
@example(b'{"text": "a", "label": ' + b"9" * 5_000 + b"}")
@example("\u00a0\n".encode())
@example(a_parquet().replace(b"text", b"\x80ext"))
def test_rows_of_a_table_are_read_or_refused(content: bytes) -> None:
    try:
        rows = list(records(io.BytesIO(content), ("text", "label")))
    except FinalError as error:
        assert error.problem_code in TABLE_FAULTS
    else:
        assert all(len(row) == 2 for row in rows)
    try:
        found = survey(file_source("input.train", io.BytesIO(content)), lambda: None)
    except FinalError as error:
        assert error.problem_code in SURVEY_FAULTS
    else:
        assert found.rows == len(rows) == found.labels.total()


# --- label files and data.yaml ---

WORDS = st.one_of(
    st.floats(-0.1, 1.1).map(str), st.integers(-1, 4).map(str), DIGITS, st.text(max_size=8)
)  # fmt: skip
FORMS = st.sampled_from(
    [Form("detect", 3), Form("segment", 3), Form("obb", 3), Form("pose", 3, (2, 3)), Form("pose", 3, (2, 2)),
     Form("detect", 3, (2, 3))]
)  # fmt: skip


@st.composite
def label_files(draw: st.DrawFn) -> bytes:
    width = draw(st.sampled_from([5, 7, 9, 11]))
    lines = draw(st.lists(st.lists(WORDS, min_size=1, max_size=width).map(" ".join), max_size=6))
    right = draw(
        st.lists(st.lists(st.floats(0, 1).map(str), min_size=width - 1, max_size=width - 1), max_size=4)
    )
    return "\n".join([*lines, *(" ".join(["1", *words]) for words in right)]).encode("utf-8", "surrogatepass")


@searched(200, 20_000)
@given(label_files(), FORMS)
def test_a_label_file_is_read_into_what_can_be_read_again_unchanged(content: bytes, form: Form) -> None:
    faults: list[tuple[str, int]] = []
    labels = read_labels(content, form, lambda message, line: faults.append((message, line)))
    assert labels.objects == len(labels.lines)
    assert all(line >= 1 for _, line in faults)
    for line in labels.lines:
        index, *values = line.split()
        assert 0 <= int(index) < form.classes
        places = [value for i, value in enumerate(values) if form.task != "pose" or i < 4 or (i - 4) % 3 != 2]
        assert all(-1e-6 <= float(place) <= 1 + 1e-6 for place in places)
    assert _read_again(labels, form) == labels.objects


def _read_again(labels: Labels, form: Form) -> int:
    faults: list[str] = []
    again = read_labels(labels.text.encode(), form, lambda message, _: faults.append(message))
    assert not faults
    return again.objects + again.empty  # a box of less than a millionth may round to nothing


YAML = b"path: .\ntrain: images/train\nval: [images/val]\nnames:\n  0: a\n  1: b\nkpt_shape: [2, 3]\nflip_idx: [1, 0]\n"


@searched(150, 10_000)
@given(
    st.one_of(spoiled(YAML), TEXTS.map(lambda text: text.encode("utf-8", "replace")), st.binary(max_size=100))
)
@example(b"a: &a [*a]")
@example(b"names: !!python/object/apply:os.system [id]")
@example(b"? [a]\n: b\n")
@example(b"{" * 5_000)
@example(b"names: [a]\ntrain: x\nkpt_shape: [" + b"9" * 5_000 + b", 2]")
def test_a_description_is_read_or_refused_with_its_fault(content: bytes) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("data.yaml", content)
    try:
        found = read_description(Archive(made, Faults()), Faults(), with_keypoints=True)
    except FinalError as error:
        assert error.problem_code == "dataset-invalid"
        assert error.errors
    else:
        assert found.names and all(name.isprintable() for name in found.names)
        assert found.train


# --- batches ---


@searched(100, 5_000)
@given(st.lists(st.binary(max_size=20), max_size=12).map(b"\n".join), st.integers(0, 11))
def test_the_lines_of_a_batch_are_the_same_from_wherever_it_goes_on(content: bytes, at: int) -> None:
    lines = list(lines_of(io.BytesIO(content)))
    wanted = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    read = [(line.text or b"").rstrip(b"\n") for line in lines]
    assert read == (wanted if wanted[-1] else wanted[:-1])
    if at < len(lines):
        rest = lines_of(io.BytesIO(content), lines[at].number, lines[at].offset)
        assert list(rest) == lines[at + 1 :]


@searched(100, 5_000)
@given(st.sets(st.integers(1, 200), min_size=1))
def test_numbers_of_lines_are_read_as_they_were_written(numbers: set[int]) -> None:
    read = LineNumbers(LineNumbers.written(sorted(numbers)))
    assert {number for number in range(1, 202) if number in read} == numbers


DOCUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.text(max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["custom_id", "method", "url", "body", "type", "input", "after", "model", "messages"]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)
ASKED = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/embeddings",
    "body": {"model": "all-MiniLM-L6-v2", "input": "a"},
}


@searched(150, 10_000)
@given(st.dictionaries(st.sampled_from([*ASKED, "type", "input", "after"]), DOCUMENTS, max_size=5))
def test_a_line_asks_for_a_job_or_is_told_what_is_wrong(changes: dict[str, object]) -> None:
    for words, document in ((OwnWords(), changes), (OpenAIWords("/v1/embeddings"), ASKED | changes)):
        try:
            job = words.job(dict(document))
        except Invalid as error:
            assert error.errors
            assert words.said_of(error).errors
        else:
            assert "custom_id" not in job
        said = custom_id_of(document)
        assert said is None or said == document["custom_id"]


@searched(100, 5_000)
@given(st.one_of(spoiled(json_lines()), st.binary(max_size=60)))
def test_a_line_that_is_no_json_is_refused(content: bytes) -> None:
    for line in lines_of(io.BytesIO(content)):
        try:
            parse_json(line.text or b"")
        except CallboardError as error:
            assert error.status in (400, 422)


# --- streams ---


@searched(100, 5_000)
@given(
    st.one_of(
        TEXTS, DIGITS, DIGITS.map(lambda digits: f"nlp:{digits}-0"), st.text("nlp:0123456789-,", max_size=40)
    )
)
def test_an_events_id_names_places_or_none(event_id: str) -> None:
    places = places_of(event_id)
    for queue, place in (places or {}).items():
        first, second = place.split("-")
        assert queue and int(first) < 2**64 and int(second) < 2**64
