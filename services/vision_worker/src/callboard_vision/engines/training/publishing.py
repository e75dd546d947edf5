"""From the weights of a training to the folder of a model that ``open_detector`` opens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from callboard_shared.models.shelf import KIND_OF_TASK
from callboard_vision.engines.export import write_onnx
from callboard_vision.engines.training.bases import WEIGHTS
from callboard_vision.engines.training.recipe import Recipe, Trained

ONNX = "model.onnx"
_PLOTS = {
    "results.png": "training_plot", "confusion_matrix.png": "confusion_plot",
    "BoxPR_curve.png": "precision_recall_plot", "MaskPR_curve.png": "mask_precision_recall_plot",
    "PosePR_curve.png": "keypoint_precision_recall_plot",
}  # fmt: skip
"""What ultralytics draws, and what a job's output calls it."""


def write_model(
    trained: Trained, names: Sequence[str], recipe: Recipe, made: Path, report: dict[str, Any]
) -> dict[str, str]:
    """Fill ``made``, an empty folder: weights, ONNX (any number of pictures, of any size), config.json, plots and
    report.json. Gives the files of a job's output: what each is, and its name in the folder."""
    shutil.copyfile(trained.best, made / WEIGHTS)
    write_onnx(trained.best, trained.run / ONNX, recipe.cache)
    (trained.run / ONNX).rename(made / ONNX)
    config = {
        "kind": KIND_OF_TASK[recipe.task],
        "task": recipe.task,
        "names": dict(enumerate(names)),
    }
    (made / "config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1))
    files = {"weights": WEIGHTS, "onnx": ONNX}
    for plot, what in _PLOTS.items():
        if (trained.run / plot).exists():
            name = f"{what.removesuffix('_plot')}.png"
            shutil.copyfile(trained.run / plot, made / name)
            files[what] = name
    (made / "report.json").write_text(json.dumps(report, ensure_ascii=False, indent=1))
    return files
