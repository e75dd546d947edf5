"""``python -m bench.vision_engines [rounds]``: the engines of the vision worker beside each other, for docs/decisions/0008.

Speed: milliseconds a picture through the network at 1 and at 16 a call, with the default detector (416 × 416) and with a
YOLO11n of random weights (480 × 640), the engines taking turns in one process. Equal detections: the default detector's
mAP on 60 pictures, by ultralytics' own measure. Those are the two photos of ultralytics' wheel, as they are and
mirrored, at six sizes and brightnesses, and 36 drawn streets with a sign. What is in the photos was taken from a
YOLO11n's detections, so this is a yardstick between engines and not the accuracy of the model.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from callboard_shared.jobs.vision import DEFAULT_DETECTOR
from callboard_shared.settings import ModelSettings, cpu_count
from callboard_vision.drawn import stop_sign, street
from callboard_vision.engines import Detector, Options, Pixels, open_detector
from callboard_vision.engines.export import to_onnx
from callboard_vision.engines.onnxruntime_engine import OnnxNetwork
from callboard_vision.engines.openvino_engine import OpenVinoNetwork
from callboard_vision.engines.quiet_ultralytics import ultralytics
from callboard_vision.engines.torch_engine import TorchNetwork

PERSON, BUS, SIGN, TIE = 0, 5, 11, 27
TRUTH = {
    "bus.jpg": [
        (BUS, 11, 229, 799, 735), (PERSON, 48, 397, 242, 904), (PERSON, 670, 391, 810, 880),
        (PERSON, 221, 404, 346, 860), (PERSON, 1, 558, 62, 873),
    ],
    "zidane.jpg": [(PERSON, 747, 42, 1149, 710), (PERSON, 143, 201, 1135, 712), (TIE, 361, 438, 527, 716)],
}  # fmt: skip
SIGNS = 36
Scene = tuple[Pixels, list[tuple[int, float, float, float, float]]]


def scenes() -> Iterator[Scene]:
    spec = importlib.util.find_spec("ultralytics")
    assets = Path(next(iter((spec.submodule_search_locations if spec else None) or []))) / "assets"
    for name, truth in TRUTH.items():
        photo = np.asarray(cv2.imread(str(assets / name)), np.uint8)
        for scale, light in ((1.0, 0), (0.8, 0), (0.6, 20), (0.5, -20), (1.25, 30), (0.7, -40)):
            picture = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale), np.uint8)
            picture = np.clip(picture.astype(np.int16) + light, 0, 255).astype(np.uint8)
            width = picture.shape[1]
            boxes = [(label, *(side * scale for side in box)) for label, *box in truth]
            yield picture, boxes  # type: ignore[misc]
            mirrored = [(label, width - x2, y1, width - x1, y2) for label, x1, y1, x2, y2 in boxes]
            yield np.ascontiguousarray(picture[:, ::-1]), mirrored
    chance = np.random.default_rng(0)
    for _ in range(SIGNS):
        picture, radius = street(), int(chance.integers(30, 95))
        x, y = int(chance.integers(radius, 416 - radius)), int(chance.integers(radius, 220))
        stop_sign(picture, x, y, radius)
        half = radius * np.cos(np.deg2rad(22.5))
        yield picture, [(SIGN, x - half, y - half, x + half, y + half)]


def mean_precision(detector: Detector) -> tuple[float, float]:
    """mAP50 and mAP50-95."""
    import torch
    from ultralytics.utils.metrics import ap_per_class, box_iou

    right, sure, labels, wanted = [], [], [], []
    levels = np.linspace(0.5, 0.95, 10)
    for picture, truth in scenes():
        (found,) = detector.detect([picture], [Options(confidence=0.001)])
        boxes = torch.tensor([box for _, *box in truth], dtype=torch.float32)
        overlap = box_iou(boxes, torch.from_numpy(found.boxes)).numpy()
        same = np.array([label for label, *_ in truth])[:, None] == found.class_ids[None]
        right.append(_right(overlap * same, levels))
        sure.append(found.confidences)
        labels.append(found.class_ids)
        wanted.append([label for label, *_ in truth])
    stacked = [np.concatenate(part) for part in (right, sure, labels, wanted)]
    precision = ap_per_class(*stacked)[5]
    return float(precision[:, 0].mean()), float(precision.mean())


def _right(overlap: Any, levels: Any) -> Any:
    """Of each finding, at which levels of overlap it is right: each truth counts for the best that overlaps it."""
    right = np.zeros((overlap.shape[1], len(levels)), bool)
    for index, level in enumerate(levels):
        pairs = np.argwhere(overlap >= level)
        pairs = pairs[np.argsort(-overlap[pairs[:, 0], pairs[:, 1]], kind="stable")]
        _, first = np.unique(pairs[:, 1], return_index=True)
        pairs = pairs[np.sort(first)]
        _, first = np.unique(pairs[:, 0], return_index=True)
        right[pairs[np.sort(first), 1], index] = True
    return right


def speeds(networks: dict[str, Callable[..., Any]], height: int, width: int, rounds: int) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (16, height, width, 3), np.uint8)
    for count in (1, 16):
        took: dict[str, list[float]] = {name: [] for name in networks}
        for _ in range(rounds):
            for name, network in networks.items():
                start = time.perf_counter()
                network(pictures[:count], half=False, least=0.25)
                took[name].append((time.perf_counter() - start) * 1e3 / count)
        for name, times in took.items():
            print(
                f"{name:24} {count:2} a call: {statistics.median(times):7.1f} ms, least {min(times):7.1f} ms"
            )


def main(rounds: int) -> None:
    threads, cache = cpu_count(), ModelSettings().cache_path
    made = ModelSettings().default_models_path / DEFAULT_DETECTOR
    for engine, exact in (("onnxruntime", True), ("openvino", True), ("openvino", False)):
        detector = open_detector(made, engine=engine, threads=threads, cache=cache, exact=exact)  # type: ignore[arg-type]
        found = mean_precision(detector)
        print(f"{detector.engine:24} mAP50 {found[0]:.4f}, mAP50-95 {found[1]:.4f}", flush=True)
    print(f"{DEFAULT_DETECTOR}, 416 x 416, {threads} threads")
    speeds(_networks(made / "model.onnx", threads, cache), 416, 416, rounds)
    with tempfile.TemporaryDirectory(prefix="callboard-bench-") as folder:
        weights = Path(folder) / "yolo11n.pt"
        ultralytics(cache).YOLO("yolo11n.yaml").save(weights)
        to_onnx(weights, weights.with_suffix(".onnx"), cache)
        import torch

        on_torch = TorchNetwork(weights, torch.device("cpu"), threads=threads, cache=cache)
        print(f"yolo11n, 480 x 640, {threads} threads")
        speeds(
            {"torch": on_torch, **_networks(weights.with_suffix(".onnx"), threads, cache)}, 480, 640, rounds
        )


def _networks(model: Path, threads: int, cache: Path) -> dict[str, Callable[..., Any]]:
    from callboard_vision.engines.description import described, onnx_metadata

    coarse = OpenVinoNetwork(model, threads=threads, cache=cache)
    coarse.go_coarser(described(onnx_metadata(model), model.name).layout, None)
    return {
        "onnxruntime": OnnxNetwork(model, threads=threads),
        "openvino float32": OpenVinoNetwork(model, threads=threads, cache=cache),
        coarse.engine: coarse,
    }


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
