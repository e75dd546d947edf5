"""What is vendored is what its VERSION file says, with its licence beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import callboard_gateway

VENDOR = Path(callboard_gateway.__file__).parent / "static" / "vendor"
FOLDERS = sorted(path.name for path in VENDOR.iterdir())


def test_the_vendored_packages_are_the_known_ones() -> None:
    assert FOLDERS == ["htmx", "htmx-ext-sse", "swagger-ui"]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_vendored_package_is_unchanged_and_licensed(name: str) -> None:
    first, *files = (VENDOR / name / "VERSION").read_text().splitlines()
    assert first.startswith("npm ")
    assert (VENDOR / name / "LICENSE").stat().st_size > 200
    listed = set()
    for line in files:
        _, digest, file = line.split()
        assert hashlib.sha256((VENDOR / name / file).read_bytes()).hexdigest() == digest, file
        listed.add(file)
    assert listed == {path.name for path in (VENDOR / name).iterdir() if path.suffix in (".js", ".css")}
