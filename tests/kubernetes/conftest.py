"""Fixtures of the chart's tests; without a Helm they are skipped, and say why."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "deploy"))

from rendering import Render, found, rendered, run


@pytest.fixture
def program() -> Path:
    helm = found()
    if isinstance(helm, str):
        pytest.skip(helm)
    return helm


@pytest.fixture
def refuse(program: Path) -> Callable[..., str]:
    """What Helm says of settings that it does not take."""

    def refused(*settings: str) -> str:
        done = run(program, settings)
        assert done.returncode != 0, done.stdout
        return done.stderr

    return refused


@pytest.fixture
def render(program: Path) -> Render:
    """The chart's objects for ``a.b=c`` settings."""
    return lambda *settings: rendered(program, ("secrets.existing=secrets", *settings))
