"""The chart, rendered by a real Helm."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import helm
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "kubernetes"
Documents = list[dict[str, Any]]
Render = Callable[..., Documents]


@cache
def found() -> Path | str:
    try:
        return helm.helm()
    except helm.Missing as missing:
        return str(missing)


@cache
def rendered(program: Path, settings: tuple[str, ...]) -> Documents:
    done = run(program, settings)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def run(program: Path, settings: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    options = [
        part for one in settings for part in ("--set-json" if "=[" in one or "={" in one else "--set", one)
    ]
    return subprocess.run(
        [str(program), "template", "cb", str(CHART), "-n", "jobs", *options],
        capture_output=True,
        text=True,
        check=False,
    )
