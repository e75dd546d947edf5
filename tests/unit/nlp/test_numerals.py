"""The rule that the default Transformer learns."""

from __future__ import annotations

import pytest

from callboard_nlp import numerals


@pytest.mark.parametrize(
    ("number", "reading"),
    [
        (0, "영"), (1, "일"), (10, "십"), (11, "십일"), (20, "이십"), (100, "백"), (111, "백십일"), (407, "사백칠"), (1000, "천"),
        (1100, "천백"), (2026, "이천이십육"), (9999, "구천구백구십구"), (10_000, "만"), (10_001, "만 일"), (11_000, "만 천"),
        (20_000, "이만"), (110_000, "십일만"), (120_345, "십이만 삼백사십오"), (1_000_000, "백만"), (1_010_010, "백일만 십"),
        (9_999_999, "구백구십구만 구천구백구십구"),
    ],
)  # fmt: skip
def test_numbers_are_read_as_people_do(number: int, reading: str) -> None:
    assert numerals.read(number) == reading


def test_no_two_numbers_are_read_alike() -> None:
    some = [*range(3000), *range(9_990_000, 10_000_000), *range(0, 10_000_000, 9973)]
    assert len({numerals.read(number) for number in some}) == len(set(some))


@pytest.mark.parametrize("number", [-1, 10_000_000])
def test_what_is_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="not between"):
        numerals.read(number)


def test_what_is_measured_on_is_never_trained_on() -> None:
    train, held_out = numerals.numbers(5000, 300, seed=2)
    assert len(train) == 5000 and len(held_out) == len(set(held_out)) == 300
    assert not set(train) & set(held_out)
    assert (train, held_out) == numerals.numbers(5000, 300, seed=2)
    assert set(range(10)) <= set(train)
    assert {len(str(number)) for number in held_out} == {3, 4, 5, 6, 7}
