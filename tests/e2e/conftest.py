"""Fixtures of the tests over HTTP; the modules beside this one are importable by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from callboard_embedded.stack import Stack

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "doubles"))


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    """A client of the shared stack with its admin key."""
    headers = {"Authorization": f"Bearer {stack.key}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=90) as client:
        yield client
