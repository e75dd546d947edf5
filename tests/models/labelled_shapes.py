"""Small data sets of drawn shapes, as a training reads them, for each task."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import cv2

from callboard_shared.pictures import PictureSettings
from callboard_vision.data.dataset import Prepared, prepare
from callboard_vision.drawn import CLASSES, shapes

HARD_NAMES = ("$circle_{", "사각형", "triangle & co")
"""That a plot would take for a formula, or has no letters for."""


def shapes_zip(
    task: str, train: int = 6, val: int = 3, size: int = 64, names: tuple[str, ...] = CLASSES
) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        listed = "".join(f"  {number}: {name!r}\n" for number, name in enumerate(names))
        more = "kpt_shape: [2, 3]\n" if task == "pose" else ""
        archive.writestr("data.yaml", f"train: images/train\nval: images/val\n{more}names:\n{listed}")
        for split, count, first in (("train", train, 0), ("val", val, 1_000_000)):
            for index in range(count):
                picture, found = shapes(first + index, size, most=1 if task == "classify-image" else 3)
                data = cv2.imencode(".png", picture)[1].tobytes()
                if task == "classify-image":
                    archive.writestr(f"{split}/{names[index % len(names)]}/{index}.png", data)
                    continue
                archive.writestr(f"images/{split}/{index}.png", data)
                lines = "".join(_line(task, *one) for one in found)
                archive.writestr(f"labels/{split}/{index}.txt", lines)
    return content.getvalue()


def _line(task: str, kind: int, x: float, y: float, width: float, height: float) -> str:
    left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    corners = (left, top, right, top, right, bottom, left, bottom)
    numbers: dict[str, tuple[float, ...]] = {
        "detect": (x, y, width, height),
        "segment": corners,
        "obb": corners,
        "pose": (x, y, width, height, x, y, 2, left, top, 1),
    }
    return (
        f"{kind} "
        + " ".join(f"{min(1, max(0, n)) if n not in (1, 2) else n:.5f}" for n in numbers[task])
        + "\n"
    )


def prepared(content: bytes, task: Any, folder: Path) -> Prepared:
    folder.mkdir(parents=True)
    return prepare(
        io.BytesIO(content),
        task,
        folder,
        seed=0,
        threads=1,
        check=lambda done, total: None,
        pictures=PictureSettings(),
    )
