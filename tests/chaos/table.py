"""The table that a run prints at its end: a line a fault."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """waits_s: per interrupted job the seconds until it ran again. also: what else had to hold, and its figure."""

    fault: str
    jobs: int
    faults: int
    lost: int
    doubled: int
    waits_s: Sequence[float] = field(default_factory=list)
    also: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        again = (
            f"{quantile(self.waits_s, 0.5):.1f} / {quantile(self.waits_s, 0.99):.1f} s"
            if self.waits_s
            else "–"
        )
        return (
            self.fault, f"{self.jobs:,}", f"{self.faults:,}", f"{self.lost:,}", f"{self.doubled:,}", again, self.also,
        )  # fmt: skip


HEAD = ("fault", "jobs", "faults", "lost", "doubled", "runs again p50 / p99", "also")
TABLE: list[Row] = []
"""Of this run, in the order in which the tests ended."""


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def markdown(rows: Sequence[Row]) -> list[str]:
    """As it stands in docs/reliability.md; padded, so that it reads in a terminal too."""
    lines = [HEAD, *(row.cells for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    text = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            for line in lines]  # fmt: skip
    return [text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]]
