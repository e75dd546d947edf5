"""`make audit` calls nothing passed that it could not look up."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FLAW = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
SOUND = {"name": "b", "version": "1", "vulns": []}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "deploy" / "audit.py")
    assert spec and spec.loader
    module = sys.modules["audit"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("packages", "outcome"),
    [
        ([SOUND], "passed"),
        ([SOUND, FLAW], "FOUND"),
        ([FLAW, UNKNOWN], "FOUND"),
        ([SOUND, UNKNOWN], "not checked"),
        ([], "not checked"),
    ],
)
def test_only_what_was_looked_up_passes(audit: ModuleType, packages: list[Any], outcome: str) -> None:
    assert audit.of_report({"dependencies": packages}).outcome == outcome


def test_an_index_that_cannot_be_reached_is_no_pass(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr="Traceback\nConnectionError: no route")
    monkeypatch.setattr(audit, "_run", lambda *_: failed)
    verdict = audit.dependencies()
    assert verdict.outcome == "not checked" and "no route" in verdict.said
