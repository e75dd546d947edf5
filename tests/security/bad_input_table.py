"""The table that `make security` prints: a line a kind of bad input, how much of it was tried, what was answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from callboard_shared.errors import CallboardError


@dataclass(slots=True)
class Row:
    input: str
    answers: Counter[str] = field(default_factory=Counter)

    def expect(self, answer: httpx.Response, status: int, code: str, what: object = "") -> None:
        """The answer is this problem, with a sentence for whoever sent it."""
        said = f"{what!r}: {answer.status_code} {answer.text[:300]}"
        assert answer.status_code == status, said
        assert answer.headers["content-type"] == "application/problem+json", said
        problem = answer.json()
        assert problem["code"] == code and len(problem["detail"]) > 10, said
        self.answers[f"{status} `{code}`"] += 1

    def failed(self, error: CallboardError, code: str) -> None:
        """A job would end with this."""
        assert error.problem_code == code
        self.answers[f"job fails, `{code}`"] += 1

    def held(self, what: str) -> None:
        self.answers[what] += 1

    @property
    def cells(self) -> tuple[str, str, str]:
        return self.input, str(self.answers.total()), ", ".join(self.answers)


HEAD = ("input", "tried", "answer")
TABLE: list[Row] = []


@contextmanager
def row(name: str) -> Iterator[Row]:
    """A line of the table, once all of it was answered as it should be."""
    one = Row(name)
    yield one
    assert one.answers, "nothing was tried"
    TABLE.append(one)


def lines() -> list[str]:
    cells = [HEAD, *(one.cells for one in TABLE)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEAD))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    return [text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]]
