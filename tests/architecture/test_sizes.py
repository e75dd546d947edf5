"""Modules and functions stay small enough to be read from top to bottom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("shared", "services", "client", "deploy", "docs", "bench")
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60


def modules(folder: str) -> Iterator[Path]:
    return (path for path in sorted((ROOT / folder).rglob("*.py")) if "build" not in path.parts)


@pytest.mark.parametrize("folder", PRODUCT)
def test_a_module_is_no_longer_than_a_reader_stays_with_it(folder: str) -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules(folder)}
    assert sizes, f"there is no module in {folder}"
    assert {path: lines for path, lines in sizes.items() if lines > MOST_LINES} == {}


@pytest.mark.parametrize("folder", PRODUCT)
def test_a_function_fits_on_a_screen(folder: str) -> None:
    long = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in modules(folder)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= MOST_LINES_OF_A_FUNCTION
    }
    assert long == {}
