"""ONNX Runtime: neither torch nor ultralytics is needed to run what was exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from callboard_vision.engines.description import NotLoadable, described, onnx_metadata
from callboard_vision.engines.detector import CPU_PART, NetworkDetector, failed
from callboard_vision.engines.interface import Floats, Pixels
from callboard_vision.engines.onnxruntime_alone import onnxruntime
from callboard_vision.engines.placement import as_input

_DEVICES = {"CUDAExecutionProvider": "cuda", "CPUExecutionProvider": "cpu"}
_DIMENSIONS = 4
_ERRORS_ONLY = 3


def open_onnx(model: Path, *, threads: int) -> NetworkDetector:
    """Raises NotLoadable."""
    network = OnnxNetwork(model, threads=threads)
    return NetworkDetector(network, described(onnx_metadata(model), model.name))


class OnnxNetwork:
    def __init__(self, model: Path, *, threads: int) -> None:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
        settings.log_severity_level = _ERRORS_ONLY
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others need the cores too
        here = onnxruntime.get_available_providers()
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), settings, providers=[name for name in _DEVICES if name in here]
            )
        except Exception as error:  # its errors have no common base
            raise NotLoadable(f"{model.name} is no ONNX model that can be loaded: {error}") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != _DIMENSIONS or inputs[0].shape[1] != 3:
            shapes = [one.shape for one in inputs]
            raise NotLoadable(f"{model.name} takes {shapes}, and not pictures (batch, 3, height, width).")
        self._name = inputs[0].name
        self._dtype = np.float16 if inputs[0].type == "tensor(float16)" else np.float32
        batch, _, height, width = inputs[0].shape
        self.batch: int | None = batch if isinstance(batch, int) else None
        fixed = isinstance(height, int) and isinstance(width, int)
        self.size: tuple[int, int] | None = (height, width) if fixed else None
        self.engine = f"onnxruntime {_DEVICES[self._session.get_providers()[0]]}"
        self.part_pixels = CPU_PART

    def __call__(self, pictures: Pixels, *, half: bool, least: float) -> list[list[Floats]]:
        given = as_input(pictures).astype(self._dtype, copy=False)
        try:
            outputs = self._session.run(None, {self._name: given})
        except Exception as error:  # its errors have no common base
            raise failed(pictures, error) from error
        return [list(one) for one in zip(*outputs, strict=True)]
