"""What of a training Trainer does not save by itself."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

_STATE = "training.json"
_BEST = "best.safetensors"


@dataclass(slots=True)
class TrainingState:
    """What a resumed training must know of the one before.

    history: {epoch, loss, eval_loss, accuracy, f1} by epoch; losses: their sum in the epoch so far, and how many;
    kept: index in ``history`` of the epoch whose weights are kept; matrix: its confusion; tokens: read so far
    """

    history: list[dict[str, float]] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_count: int = 0
    kept: int = 0
    matrix: list[list[int]] = field(default_factory=list)
    tokens: int = 0

    def save(self, folder: Path, best: Path) -> None:
        """Beside Trainer's own files; with the best weights, if they are not the last ones."""
        (folder / _STATE).write_text(json.dumps(asdict(self)))
        if best.exists():
            shutil.copyfile(best, folder / _BEST)
        # A pickle of the arguments, which nothing reads.
        (folder / "training_args.bin").unlink(missing_ok=True)

    @classmethod
    def restored(cls, folder: Path, best: Path) -> Self:
        if (folder / _BEST).exists():
            shutil.copyfile(folder / _BEST, best)
        document: dict[str, Any] = json.loads((folder / _STATE).read_bytes())
        return cls(**document)
