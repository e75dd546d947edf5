"""OpenVINO: reads ONNX models and the folders that ultralytics exports for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import structlog
import yaml  # type: ignore[import-untyped]

from callboard_vision.engines.decoding import Layout
from callboard_vision.engines.description import NotLoadable, described, onnx_metadata
from callboard_vision.engines.detector import CPU_PART, NetworkDetector, failed
from callboard_vision.engines.interface import Floats, Pixels
from callboard_vision.engines.openvino_alone import openvino
from callboard_vision.engines.placement import as_input

log = structlog.get_logger(__name__)

_DIMENSIONS = 4
_PROBE_SIDE = 320
_SAME_SCORES, _SAME_BOXES, _SUREST = 0.02, 0.9, 100


def open_openvino(model: Path, *, threads: int, cache: Path, exact: bool = False) -> NetworkDetector:
    """``model``: an ONNX file, or a folder with an ``.xml`` and its ``metadata.yaml``; ``exact``: float32 only. Raises
    NotLoadable."""
    description = described(onnx_metadata(model) if model.is_file() else _metadata(model), model.name)
    network = OpenVinoNetwork(_graph(model), threads=threads, cache=cache)
    detector = NetworkDetector(network, description)
    if not exact and not description.layout.ranked:  # which boxes are picked hangs on the last digit
        network.go_coarser(description.layout, detector.facts.fixed_size)
    return detector


def _graph(model: Path) -> Path:
    if model.is_file():
        return model
    found = sorted(model.glob("*.xml"))
    if not found:
        raise NotLoadable(f"{model.name} has no .xml of OpenVINO.")
    return found[0]


def _metadata(model: Path) -> dict[str, Any]:
    try:
        said = yaml.safe_load((model / "metadata.yaml").read_text())
    except (OSError, yaml.YAMLError) as error:
        raise NotLoadable(f"{model.name} has no metadata.yaml that can be read: {error}") from error
    return said if isinstance(said, dict) else {}


class OpenVinoNetwork:
    def __init__(self, graph: Path, *, threads: int, cache: Path) -> None:
        self._core, self._threads = openvino.Core(), threads
        self._core.set_property({"CACHE_DIR": str(cache / "openvino" / "compiled")})
        try:
            self._model = model = self._core.read_model(graph)
            self._request = self._compiled("f32")
        except RuntimeError as error:  # OpenVINO's own
            raise NotLoadable(f"{graph.name} is no model that OpenVINO can load: {error}") from error
        shape = model.inputs[0].get_partial_shape()
        if len(model.inputs) != 1 or shape.rank.get_length() != _DIMENSIONS or shape[1] != 3:
            raise NotLoadable(f"{graph.name} takes {shape}, and not pictures (batch, 3, height, width).")
        self.batch: int | None = None if shape[0].is_dynamic else shape[0].get_length()
        fixed = not (shape[2].is_dynamic or shape[3].is_dynamic)
        self.size: tuple[int, int] | None = (shape[2].get_length(), shape[3].get_length()) if fixed else None
        self.engine = "openvino cpu float32"
        self.part_pixels = CPU_PART

    def __call__(self, pictures: Pixels, *, half: bool, least: float) -> list[list[Floats]]:
        return _run(self._request, pictures)

    def go_coarser(self, layout: Layout, size: tuple[int, int] | None) -> None:
        """bfloat16, where the CPU has it and a probe shows that the findings stay the same."""
        if "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return
        coarser = self._compiled("bf16")
        probe = _probe(self.batch or 1, size or (_PROBE_SIDE, _PROBE_SIDE))
        off = _apart(_run(self._request, probe)[0][0], _run(coarser, probe)[0][0], layout)
        if off is None:
            self._request, self.engine = coarser, "openvino cpu bfloat16"
        else:
            log.info("engine.too_coarse", engine="openvino cpu bfloat16", off=off)

    def _compiled(self, precision: str) -> Any:
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # several workers of a machine would be pinned to the same cores
        }
        return self._core.compile_model(self._model, "CPU", settings).create_infer_request()


def _run(request: Any, pictures: Pixels) -> list[list[Floats]]:
    try:
        results = request.infer({0: as_input(pictures)}, share_inputs=True)
    except RuntimeError as error:
        raise failed(pictures, error) from error
    return [list(one) for one in zip(*results.values(), strict=True)]


def _probe(count: int, size: tuple[int, int]) -> Pixels:
    """Blots of colour: something of every size, the same each time."""
    random = np.random.default_rng(0)
    blots = random.integers(0, 256, (12, 12, 3), np.uint8)
    picture = cv2.resize(blots, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return np.repeat(np.asarray(picture, np.uint8)[None], count, axis=0)


def _apart(exact: Floats, coarse: Floats, layout: Layout) -> str | None:
    """How far the outputs for one picture are from each other; None if they count as the same."""
    if layout.task == "classify-image":
        off = float(np.abs(exact - coarse).max())
        return None if off <= _SAME_SCORES else f"probabilities {off:.3f} apart"
    scores, others = exact[4 : 4 + layout.classes], coarse[4 : 4 + layout.classes]
    off = float(np.abs(scores - others).max())
    if off > _SAME_SCORES:
        return f"confidences {off:.3f} apart"
    surest = np.argsort(-scores.max(axis=0), kind="stable")[:_SUREST]
    overlap = float(_overlaps(exact[:4, surest], coarse[:4, surest]).min(initial=1))
    return None if overlap >= _SAME_BOXES else f"boxes overlap by {overlap:.3f} only"


def _overlaps(some: Floats, others: Floats) -> Floats:
    """Of each box with its like: (4, n), centre x, centre y, width, height → (n,), 0…1."""
    low = np.maximum(some[:2] - some[2:] / 2, others[:2] - others[2:] / 2)
    high = np.minimum(some[:2] + some[2:] / 2, others[:2] + others[2:] / 2)
    common = np.maximum(high - low, 0).prod(axis=0)
    either = some[2:].prod(axis=0) + others[2:].prod(axis=0) - common
    overlaps: Floats = common / np.maximum(either, 1e-9)
    return overlaps
