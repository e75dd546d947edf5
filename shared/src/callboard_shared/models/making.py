"""Default models that no package ships are made by the set-up and by ``make models``, each once, in a folder of its own
below CALLBOARD_DEFAULT_MODELS_DIR with a ``model_card.json`` that says from what it was made and how good it is.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callboard_shared.settings import ModelSettings, cpu_count


@dataclass(frozen=True, slots=True)
class Default:
    """``recipe`` is raised when ``make`` makes something else; ``make(folder, threads)`` gives the card."""

    name: str
    recipe: int
    make: Callable[[Path, int], dict[str, Any]]


def is_made(root: Path, default: Default) -> bool:
    try:
        card = json.loads((root / default.name / "model_card.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and card.get("recipe") == default.recipe


def make(root: Path, default: Default, threads: int) -> dict[str, Any]:
    """Make a model, whole or not at all. Returns its card."""
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=root))
    try:
        began = time.monotonic()
        card = {**default.make(unfinished, threads), "recipe": default.recipe}
        card["details"] = {**card.get("details", {}), "made_in_s": round(time.monotonic() - began, 1)}
        (unfinished / "model_card.json").write_text(json.dumps(card, indent=1))
        unfinished.chmod(0o755)
        for file in unfinished.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)  # an image's user reads what the build made
        shutil.rmtree(root / default.name, ignore_errors=True)
        os.replace(unfinished, root / default.name)
        return card
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def make_missing(defaults: Sequence[Default]) -> int:
    """Make those that are missing. Returns the exit code."""
    root = ModelSettings().default_models_path
    root.mkdir(parents=True, exist_ok=True)
    failed = 0
    for default in defaults:
        # Of each its own: two set-ups at once make it once, and none waits for what it does not make itself.
        with (root / f".{default.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if is_made(root, default):
                continue
            try:
                card = make(root, default, cpu_count())
            except Exception as error:
                print(f"{default.name}: not made ({type(error).__name__}: {error})", file=sys.stderr)
                failed += 1
            else:
                figures = ", ".join(f"{name} {value:,.4g}" for name, value in card["metrics"].items())
                print(f"{default.name}: made in {card['details']['made_in_s']} s ({figures})", flush=True)
    return 1 if failed else 0
