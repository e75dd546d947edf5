"""Our names for what ultralytics measures.

``precision``, ``recall``, ``map50``, ``map50_95`` are of boxes; with ``mask_`` before them of outlines, with
``keypoint_`` of key points. A classifier has ``accuracy`` and ``accuracy_top5``. ``…_loss`` are of the training,
``val_…_loss`` of the pictures that are measured on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_METRICS = {
    "precision": "precision", "recall": "recall", "mAP50": "map50", "mAP50-95": "map50_95",
    "accuracy_top1": "accuracy", "accuracy_top5": "accuracy_top5",
}  # fmt: skip
_OF = {None: "", "B": "", "M": "mask_", "P": "keypoint_"}
_METRIC = re.compile(r"metrics/([\w-]+?)(?:\(([BMP])\))?$")


def named(figures: Mapping[str, float]) -> dict[str, float]:
    """``figures`` as ultralytics' trainer has them: ``metrics/mAP50(B)``, ``train/box_loss``, ``val/box_loss``."""
    found: dict[str, float] = {}
    for key, value in figures.items():
        metric = _METRIC.match(key)
        part, _, loss = key.partition("/")
        if metric and metric[1] in _METRICS:
            found[_OF[metric[2]] + _METRICS[metric[1]]] = float(value)
        elif part == "train":
            found[loss] = float(value)
        elif part == "val":
            found[f"val_{loss}"] = float(value)
    return found
