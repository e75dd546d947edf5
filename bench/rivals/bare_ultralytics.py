"""The yardstick of vision.detect: ultralytics in one process, as its users write it.

Arguments: folder of the default model, folder of JPEGs, photos a call, photos in all. Prints photos a second, from files
to boxes as Python numbers. The model is looked at with as the worker does: 416 × 416, grey around the photo.
"""

from __future__ import annotations

import sys
import time
from itertools import cycle, islice
from pathlib import Path

from ultralytics import YOLO

SIDE = 416
WARM_UP = 32


def main(model: Path, folder: Path, batch: int, count: int) -> float:
    yolo = YOLO(str(model / "model.onnx"), task="detect")
    photos = [str(path) for path in sorted(folder.glob("*.jpg"))]

    def look(paths: list[str]) -> int:
        asked = {"imgsz": SIDE, "rect": False, "conf": 0.25, "iou": 0.7, "verbose": False, "batch": batch}
        results = yolo.predict(paths if batch > 1 else paths[0], **asked)
        return len([result.boxes.data.tolist() for result in results])

    def look_at(wanted: list[str]) -> int:
        return sum(look(wanted[at : at + batch]) for at in range(0, len(wanted), batch))

    look_at(list(islice(cycle(photos), WARM_UP)))
    wanted = list(islice(cycle(photos), count))
    start = time.perf_counter()
    seen = look_at(wanted)
    took = time.perf_counter() - start
    if seen != count:
        raise RuntimeError(f"{seen} answers to {count} photos")
    return count / took


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
