"""``python -m bench [--quick] [--only a,c] [--rounds N]``: one table of what must be reached, from one run."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from rich.console import Console

from bench import (
    batches,
    chat,
    classify,
    detect,
    echo,
    embed,
    finetune,
    footprint,
    idle,
    ledger_cost,
    promises,
    streams,
    webhooks,
    word2vec,
)
from bench.machine import describe
from bench.report import Row, figure, keep, show
from bench.scale import FULL, QUICK
from bench.wire import WrkMissing

GROUPS = {
    "a": echo, "b": idle, "c": embed, "d": ledger_cost, "e": footprint, "f": classify, "g": finetune, "h": word2vec,
    "i": chat, "j": webhooks, "k": streams, "l": detect, "n": batches,
    "o": promises,
}  # fmt: skip
WIDTH = 132
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run the chosen groups; 0 whatever the verdicts are, for speed is never asserted."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--only",
        default="".join(GROUPS),
        help="groups: a echo, b idle, c embed, d ledger, e footprint, f classify, g finetune, h word2vec, i chat, "
        "j webhooks, k streams, l detect, n batches, o promises",
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer jobs, one round: a look, not a measurement"
    )
    parser.add_argument("--rounds", type=int, help="times that rivals and Callboard take turns")
    chosen = parser.parse_args()
    scale = QUICK if chosen.quick else FULL
    if chosen.rounds:
        scale = dataclasses.replace(scale, rounds=chosen.rounds)
    console, machine, rows = Console(), describe(), list[Row]()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    try:
        for letter in sorted(set(chosen.only) & set(GROUPS)):
            for row in GROUPS[letter].rows(scale):
                console.print(f"{row.what}: {figure(row)}", style="dim", markup=False, highlight=False)
                rows.append(row)
    except WrkMissing as missing:
        console.print(str(missing), style="red")
        return 2
    finally:
        if rows:
            show(rows, machine["line"], console)
            console.print(f"kept in {keep(rows, machine, RESULTS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
