"""What a run found: rows with target and verdict, printed as one table and kept as JSON."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One line: ``figure`` in ``unit``; ``ratio`` to what it is held against; ``met`` None where nothing is asked.

    A figure of None was not measured; ``target`` says why.
    """

    group: str
    what: str
    figure: float | None
    unit: str
    ratio: float | None = None
    target: str = ""
    met: bool | None = None
    runs: list[float] = field(default_factory=list)


def at_least(
    group: str, what: str, runs: Sequence[float], unit: str, beside: float, factor: float, name: str
) -> Row:
    """A rate whose median must be ``factor`` times that of ``name``."""
    figure = statistics.median(runs)
    ratio = figure / beside
    return Row(group, what, figure, unit, ratio, f"≥ {factor:g} × {name}", ratio >= factor, list(runs))


def at_most(group: str, what: str, figure: float, unit: str, limit: float) -> Row:
    """A cost with an upper bound in the same unit."""
    return Row(group, what, figure, unit, None, f"≤ {limit:g} {unit}", figure <= limit)


def plain(group: str, what: str, runs: Sequence[float], unit: str) -> Row:
    """A figure that others are held against, or that is only shown: the median of its runs."""
    return Row(group, what, statistics.median(runs), unit, runs=list(runs))


def beside(group: str, what: str, runs: Sequence[float], unit: str, other: float) -> Row:
    """A figure with its ratio to another, of which nothing is asked."""
    figure = statistics.median(runs)
    return Row(group, what, figure, unit, figure / other, runs=list(runs))


def absent(group: str, what: str, why: str) -> Row:
    """What could not be measured here."""
    return Row(group, what, None, "", target=f"not measured: {why}")


def show(rows: Iterable[Row], machine: str, console: Console) -> None:
    """Print the table."""
    table = Table(title="Callboard bench", caption=machine, caption_justify="left", title_justify="left")
    for name, justify in (
        ("what", "left"),
        ("figure", "right"),
        ("ratio", "right"),
        ("target", "left"),
        ("", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    group = ""
    for row in rows:
        if row.group != group:
            table.add_section()
            table.add_row(f"[bold]{row.group}[/]", "", "", "", "")
            group = row.group
        table.add_row(
            f"  {row.what}", figure(row), "" if row.ratio is None else f"{row.ratio:.2f}",
            row.target, {None: "", True: "[green]met[/]", False: "[red]missed[/]"}[row.met],
        )  # fmt: skip
    console.print(table)


def markdown(rows: Iterable[Row], machine: str) -> str:
    """The same table for docs/benchmarks.md."""
    lines = ["| | figure | ratio | target | |", "|---|---:|---:|---|---|"]
    group = ""
    for row in rows:
        if row.group != group:
            lines.append(f"| **{row.group}** | | | | |")
            group = row.group
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        verdict = {None: "", True: "met", False: "**missed**"}[row.met]
        lines.append(f"| {row.what} | {figure(row)} | {ratio} | {row.target} | {verdict} |")
    return "\n".join([*lines, "", machine, ""])


def keep(rows: Sequence[Row], machine: dict[str, Any], folder: Path) -> Path:
    """Write JSON and Markdown beside each other; the path of the JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / time.strftime("%Y%m%dT%H%M%SZ.json", time.gmtime())
    path.write_text(json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(rows, machine["line"]))
    return path


def figure(row: Row) -> str:
    """With its unit, as it is shown."""
    return "–" if row.figure is None else f"{_number(row.figure)} {row.unit}"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
