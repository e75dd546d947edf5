"""`make help` lists every verb, and each can be made."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
INNER = {"installed", "tools"}


def make(*arguments: str) -> str:
    done = subprocess.run(["make", *arguments], capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, re.M)) - INNER


def test_help_lists_every_verb_once_in_groups() -> None:
    text = make("help")
    listed = re.findall(r"^  make ([a-z][a-z0-9-]*) ", text, re.M)
    assert sorted(listed) == sorted(targets())
    assert re.findall(r"^(\w.*)$", text, re.M) == ["Use it", "Work on it", "Tidy up"]


def test_help_fits_a_terminal_and_is_what_plain_make_prints() -> None:
    assert make() == make("help")
    assert max(map(len, make("help").splitlines())) <= 110


@pytest.mark.parametrize("verb", sorted(targets()))
def test_every_verb_has_a_recipe_that_make_accepts(verb: str) -> None:
    make("--dry-run", verb, "NAME=audio")


def test_the_demo_needs_no_development_tools() -> None:
    assert "bootstrap.py dev" not in make("--dry-run", "demo")
    assert "bootstrap.py dev" in make("--dry-run", "test")
