"""Fixtures of the security tests; the modules beside this one are importable by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

sys.path.insert(0, str(Path(__file__).parents[1] / "doubles"))

from bad_input_table import TABLE, lines
from house import House, house_at


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if TABLE:
        terminalreporter.section("bad input")
        terminalreporter.write_line("\n".join(lines()))


@pytest.fixture(scope="module")
def house(valkey_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house_at(valkey_server, tmp_path_factory.mktemp("house")) as house:
        yield house
