"""The printed table."""

from __future__ import annotations

import pytest
from table import Row, markdown, quantile


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_quantile_is_a_value_that_was_measured(share: float, value: float) -> None:
    assert quantile([float(number) for number in range(100, 0, -1)], share) == value


def test_the_table_is_markdown_with_a_line_a_fault() -> None:
    head, rule, *lines = markdown(
        [Row("one", 5_000, 50, 0, 0, [1.0, 3.04]), Row("two", 1, 2, 3, 4, also="held")]
    )
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == [
        "one", "5,000", "50", "0", "0", "1.0 / 3.0 s", "",
    ]  # fmt: skip
    assert [cell.strip() for cell in lines[1].strip("|").split("|")] == [
        "two",
        "1",
        "2",
        "3",
        "4",
        "–",
        "held",
    ]
    assert len({len(line) for line in (head, rule, *lines)}) == 1
