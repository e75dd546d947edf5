"""Chaos: whole processes are killed, stopped and cut off, and a table says what came of it. See docs/reliability.md."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "doubles"))

from scale import FULL, LEASE_S, SEED
from table import TABLE, markdown
from yard import Plan, Yard


def pytest_report_header() -> str:
    return f"chaos: CALLBOARD_CHAOS_SEED={SEED} gives the same moments again"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is slow, and is chaos."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.chaos)
            item.add_marker(pytest.mark.timeout(7200 if FULL else 600))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if TABLE:
        scale = "full" if FULL else "short"
        terminalreporter.section(f"chaos · {scale} · seed {SEED} · lease {LEASE_S:g} s")
        terminalreporter.write_line("\n".join(markdown(TABLE)))


@pytest.fixture
def yard_of(tmp_path: Path) -> Iterator[Callable[[Plan], Yard]]:
    """Starts a stack by a plan; it ends with the test."""
    with ExitStack() as ending:
        yield lambda plan: ending.enter_context(Yard(tmp_path / "home", plan))
