"""Which engine opens a model."""

from __future__ import annotations

from pathlib import Path

import structlog

from callboard_nlp.engines.batching import TextEncoder
from callboard_nlp.engines.classifying import TextClassifier
from callboard_nlp.engines.interface import Classifier, Computes, Encoder
from callboard_nlp.settings import EngineName

log = structlog.get_logger(__name__)

_NVIDIA = Path("/proc/driver/nvidia/version")
"""There if an NVIDIA driver is loaded: asked before torch, whose import takes seconds and 300 MB."""


def open_encoder(
    folder: Path, cache: Path, *, engine: EngineName = "auto", threads: int = 1, exact: bool = False
) -> Encoder:
    """An encoder for the model in ``folder``; ``cache`` keeps what is converted. ``exact``: float32 only."""
    return _opened(folder, cache, "embed", engine, threads, exact)


def open_classifier(
    folder: Path, cache: Path, *, engine: EngineName = "auto", threads: int = 1, exact: bool = False
) -> Classifier:
    """A classifier for the model in ``folder``, by the same engines."""
    return TextClassifier(_opened(folder, cache, "classify", engine, threads, exact), folder)


def _opened(
    folder: Path, cache: Path, task: Computes, engine: EngineName, threads: int, exact: bool
) -> TextEncoder:
    if engine == "openvino" or (engine == "auto" and not _NVIDIA.exists()):
        try:
            from callboard_nlp.engines import openvino_engine

            return TextEncoder(
                *openvino_engine.open_exported(folder, cache, threads=threads, exact=exact, task=task)
            )
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            # OpenVINO's own errors are RuntimeErrors. Slower is better than not at all.
            log.warning(
                "engine.falls_back", source=str(folder), wanted="openvino", used="torch", reason=str(error)
            )
    from callboard_nlp.engines import torch_engine

    forward = torch_engine.fastest_here(folder, threads, exact=exact, task=task)
    return TextEncoder(torch_engine.read_vocabulary(folder), forward)
