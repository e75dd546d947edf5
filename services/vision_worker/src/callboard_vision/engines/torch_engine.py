"""torch: ultralytics' weights as they are. For NVIDIA GPUs (16-bit floats by choice), and the reference on a CPU.

Weights are pickles, and reading one runs what is in it: what comes here is trusted (``trust.py``).
"""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import torch

from callboard_vision.engines.description import NotLoadable, described
from callboard_vision.engines.detector import CPU_PART, NetworkDetector, NotEnoughMemory
from callboard_vision.engines.interface import Floats, Pixels
from callboard_vision.engines.quiet_ultralytics import ultralytics

_GPU_PART = 64 * 640 * 640


def open_weights(weights: Path, *, threads: int, cache: Path, slot: int = 0) -> NetworkDetector:
    """``slot``: which of the worker's processes this is, from 0; each takes a GPU of its own while there are enough.
    Raises NotLoadable."""
    network = TorchNetwork(weights, device(slot), threads=threads, cache=cache)
    return NetworkDetector(network, described(network.metadata, weights.name))


def device(slot: int) -> torch.device:
    """CUDA_VISIBLE_DEVICES says which GPUs there are; torch counts what is left."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", slot % torch.cuda.device_count())


class TorchNetwork:
    batch: int | None = None
    size: tuple[int, int] | None = None

    def __init__(self, weights: Path, where: torch.device, *, threads: int, cache: Path) -> None:
        torch.set_num_threads(threads)
        self._device, self._on_gpu = where, where.type == "cuda"
        model = _loaded(weights, cache).float().eval().fuse(verbose=False)
        self._model = model.to(where, memory_format=torch.channels_last).requires_grad_(False)
        self._halved: Any = None
        self._lock = threading.Lock()
        self.engine = f"torch {where.type}"
        self.part_pixels = _GPU_PART if self._on_gpu else CPU_PART
        self.metadata = _metadata(model)
        self._picks_itself = bool(self.metadata["end2end"]) or self.metadata["task"] == "classify"

    @torch.inference_mode()
    def __call__(self, pictures: Pixels, *, half: bool, least: float) -> list[list[Floats]]:
        half = half and self._on_gpu
        try:
            given = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2).flip(1)
            given = (given.half() if half else given.float()).div_(255)
            given = given.contiguous(memory_format=torch.channels_last)
            found, prototypes = _outputs((self._half if half else self._model)(given))
            rows = list(found) if self._picks_itself else self._candidates(found, least)
            beside = [] if prototypes is None else [_on_host(prototypes)]
            on_host = [_on_host(row) for row in rows]
        except torch.OutOfMemoryError as error:
            if self._on_gpu:
                torch.cuda.empty_cache()
            raise NotEnoughMemory(str(error)) from error
        return [[row, *(one[index] for one in beside)] for index, row in enumerate(on_host)]

    def _candidates(self, found: torch.Tensor, least: float) -> list[torch.Tensor]:
        """Only the boxes that are sure enough: the others need not leave the device."""
        sure = found[:, 4 : 4 + len(self.metadata["names"])].amax(1) > least
        return [rows[:, keep] for rows, keep in zip(found, sure, strict=True)]

    @property
    def _half(self) -> Any:
        with self._lock:
            if self._halved is None:
                self._halved = copy.deepcopy(self._model).half()
        return self._halved


def _on_host(tensor: torch.Tensor) -> Floats:
    array: Floats = tensor.float().cpu().numpy()
    return array


def _loaded(weights: Path, cache: Path) -> Any:
    ultralytics(cache)
    from ultralytics.nn.tasks import load_checkpoint

    if not weights.is_file():
        raise NotLoadable(f"There is no file {weights.name}.")  # ultralytics would look for it in the network
    try:
        return load_checkpoint(weights.absolute(), device="cpu")[0]  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever a pickle or an old version of a model brings
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NotLoadable(
            f"{weights.name} is no model of ultralytics that can be loaded: {reason}"
        ) from error


def _metadata(model: Any) -> dict[str, Any]:
    head = model.model[-1]
    arguments = getattr(model, "args", None)
    trained = arguments.get("imgsz") if isinstance(arguments, dict) else None
    return {
        "task": getattr(model, "task", None) or "detect",
        "names": dict(model.names),
        "stride": max(int(model.stride.max()), 32),
        "end2end": bool(getattr(model, "end2end", False)),
        "kpt_shape": tuple(getattr(head, "kpt_shape", ())),
        "imgsz": [trained, trained] if isinstance(trained, int) else trained,
    }


def _outputs(given: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Boxes or probabilities, and prototypes of masks; besides, a network tells what its training needs."""
    first = given[0] if isinstance(given, tuple) else given
    return (first[0], first[1]) if isinstance(first, tuple) else (first, None)
