"""What a resumed training needs: ultralytics' own checkpoint, the best weights, and the history so far."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from callboard_vision.engines.training.recipe import Measures

_HISTORY = "history.json"
_TABLE = "results.csv"


def write_checkpoint(run: Path, history: list[Measures], folder: Path, *, best_is_last: bool) -> None:
    """Copy what ``run``, the folder of a training at the end of an epoch, is resumed from into ``folder``."""
    folder.mkdir()
    shutil.copyfile(run / "weights" / "last.pt", folder / "last.pt")
    if not best_is_last:
        shutil.copyfile(run / "weights" / "best.pt", folder / "best.pt")
    shutil.copyfile(run / _TABLE, folder / _TABLE)
    (folder / _HISTORY).write_text(json.dumps(history))


def read_checkpoint(folder: Path, run: Path) -> list[Measures]:
    """Put a checkpoint where a training goes on from it; gives the history so far."""
    weights = run / "weights"
    weights.mkdir(parents=True)
    last, best = folder / "last.pt", folder / "best.pt"
    shutil.copyfile(best if best.exists() else last, weights / "best.pt")
    shutil.copyfile(last, weights / "last.pt")
    shutil.copyfile(folder / _TABLE, run / _TABLE)
    history: list[Measures] = json.loads((folder / _HISTORY).read_bytes())
    return history
