"""The lines of a batch's file, and sets of their numbers."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard_shared.batches import lines
from callboard_shared.batches.lines import Line, LineNumbers, lines_of
from callboard_shared.ids import is_id, member_id, new_id


def read(content: bytes, number: int = 0, offset: int = 0) -> list[Line]:
    return list(lines_of(io.BytesIO(content), number, offset))


def test_lines_are_numbered_from_one_and_say_where_the_next_begins() -> None:
    found = read(b"a\r\n\n b")
    assert [(one.number, one.text, one.offset) for one in found] == [
        (1, b"a\r\n", 3),
        (2, b"\n", 4),
        (3, b" b", 6),
    ]
    assert [one.is_blank for one in found] == [False, True, False]


def test_reading_goes_on_from_any_line() -> None:
    content = b"one\ntwo\n\nfour"
    whole = read(content)
    for at, line in enumerate(whole, 1):
        assert read(content, line.number, line.offset) == whole[at:]


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert [one.text for one in read(b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n")] == [b"{}\n", b"\xef\xbb\xbf{}\n"]


@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize("size", [9, 10, 11, 25, 40])
def test_a_line_that_is_too_long_is_passed_over_as_one(
    monkeypatch: pytest.MonkeyPatch, size: int, end: bytes
) -> None:
    monkeypatch.setattr(lines, "MOST_LINE_BYTES", 8)
    found = read(b"first\n" + b"x" * size + end + (b"last" if end else b""))
    assert [one.number for one in found] == ([1, 2, 3] if end else [1, 2])
    too_long = found[1].text is None or len(found[1].text.rstrip(b"\n")) > 8
    assert too_long and not found[1].is_blank
    assert found[1].offset == 6 + size + len(end)


@given(st.sets(st.integers(1, 300), min_size=1))
def test_a_set_of_numbers_survives_being_written(numbers: set[int]) -> None:
    kept = LineNumbers(LineNumbers.written(sorted(numbers)))
    assert {n for n in range(302) if n in kept} == numbers


def test_the_empty_text_is_all_lines() -> None:
    assert 1 in LineNumbers("") and 50_000 in LineNumbers("")
    assert LineNumbers.written([]) == ""
    assert LineNumbers.written([1, 2, 3, 7, 9, 10]) == "1-3,7,9-10"


def test_ids_of_members_are_ids_in_the_order_of_the_lines_and_of_their_batch_alone() -> None:
    batch, other = new_id("batch"), new_id("batch")
    ids = [member_id(batch, n) for n in range(0, 50_001, 7)]
    assert all(is_id(one, "job") for one in ids)
    assert ids == sorted(set(ids))
    assert ids == [member_id(batch, n) for n in range(0, 50_001, 7)]
    assert not set(ids) & {member_id(other, n) for n in range(0, 50_001, 7)}
