"""Which engine opens a model.

Weights of ultralytics (``.pt``) go to torch on an NVIDIA GPU, and elsewhere through ONNX to the engine that was
measured to be fastest on a CPU (docs/decisions/0008). What is there as ONNX only never goes to torch.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from callboard_shared.errors import FinalError
from callboard_shared.models.trusted import TrustSettings, sha256_of
from callboard_vision.engines.description import NotLoadable
from callboard_vision.engines.export import exported
from callboard_vision.engines.fetching import was_fetched
from callboard_vision.engines.interface import Detector
from callboard_vision.settings import EngineName

log = structlog.get_logger(__name__)

FASTEST_ON_CPU: EngineName = "openvino"
_NVIDIA = Path("/proc/driver/nvidia/version")
"""There if an NVIDIA driver is loaded: asked before torch, whose import takes seconds and 300 MB."""
_ONNX, _WEIGHTS = "model.onnx", "best.pt"
"""In a folder of ours."""


def open_detector(
    folder: Path,
    *,
    engine: EngineName = "auto",
    threads: int = 1,
    cache: Path,
    exact: bool = False,
    slot: int = 0,
) -> Detector:
    """What looks with the model at ``folder``: a folder of ours (config.json, model.onnx, and best.pt if it was trained
    here), a folder that ultralytics exported for OpenVINO, or a file (``.onnx``, or ``.pt`` that is trusted). ``cache``
    keeps what is converted; ``exact``: float32 only, on a CPU; ``slot``: which of the worker's processes this is, so
    that each takes a GPU of its own.

    Raises FinalError: ``model-not-loadable`` or ``unsupported-format``, saying why.
    """
    weights, model = _files(folder, cache)
    wanted = engine if engine != "auto" else ("torch" if _NVIDIA.exists() else FASTEST_ON_CPU)
    if wanted == "torch" and weights is not None:
        from callboard_vision.engines.torch_engine import open_weights

        return open_weights(weights, threads=threads, cache=cache, slot=slot)
    if model is None:
        if weights is None:
            raise NotLoadable(f"{folder.name} has no {_ONNX}, nor anything else that can be opened.")
        model = exported(weights, cache)
    if wanted == "torch":
        log.info("engine.other", model=folder.name, wanted="torch", reason="it is there as ONNX only")
        wanted = FASTEST_ON_CPU if not _NVIDIA.exists() else "onnxruntime"
    if wanted == "openvino" or model.is_dir():
        from callboard_vision.engines.openvino_engine import open_openvino

        return open_openvino(model, threads=threads, cache=cache, exact=exact)
    from callboard_vision.engines.onnxruntime_engine import open_onnx

    return open_onnx(model, threads=threads)


def _files(folder: Path, cache: Path) -> tuple[Path | None, Path | None]:
    """Weights that may be read, and what the other engines take."""
    if folder.suffix == ".pt" and not folder.is_dir():
        if not vouched_for(folder, cache):
            raise FinalError(
                f"{folder.name} is a pickle, which runs code when it is read. List its sha256 in "
                "CALLBOARD_VISION_TRUSTED_WEIGHTS if you trust where it comes from, or export it to ONNX.",
                code="unsupported-format",
            )
        return folder, None
    if not folder.is_dir():
        return None, folder
    if any(folder.glob("*.xml")):
        return None, folder
    weights, model = folder / _WEIGHTS, folder / _ONNX
    trusted = weights if weights.is_file() and vouched_for(weights, cache) else None
    return trusted, model if model.is_file() else None


def vouched_for(weights: Path, cache: Path) -> bool:
    """Whether weights, which are pickles, may be read: by the operator, by the model store, which checks the sha256 of
    what was trained here each time it gives a folder out, or by the record of what was fetched from ultralytics."""
    if weights.absolute().parent.parent == cache.absolute() / "trained" or was_fetched(weights):
        return True
    trusted = TrustSettings().vision_trusted_weights
    return bool(trusted) and weights.is_file() and sha256_of(weights) in trusted
