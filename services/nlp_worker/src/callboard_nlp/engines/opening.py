"""Which engine opens a model, and the few models that a process holds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import structlog

from callboard_nlp.engines.batching import TextEncoder
from callboard_nlp.engines.interface import Encoder
from callboard_nlp.settings import EngineName
from callboard_shared.errors import FinalError, Invalid, RetryableError
from callboard_shared.models import ModelRef, Shelf

log = structlog.get_logger(__name__)

_NVIDIA = Path("/proc/driver/nvidia/version")
"""There if an NVIDIA driver is loaded: asked before torch, whose import takes seconds and 300 MB."""

_FROM_HUB = ["*.json", "*.safetensors", "*.txt", "*.model"]


def open_encoder(
    folder: Path, cache: Path, *, engine: EngineName = "auto", threads: int = 1, exact: bool = False
) -> Encoder:
    """An encoder for the model in ``folder``; ``cache`` keeps what is converted. ``exact``: float32 only."""
    if engine == "openvino" or (engine == "auto" and not _NVIDIA.exists()):
        try:
            from callboard_nlp.engines import openvino_engine

            return TextEncoder(*openvino_engine.open_exported(folder, cache, threads=threads, exact=exact))
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            # OpenVINO's own errors are RuntimeErrors. Slower is better than not at all.
            log.warning(
                "engine.falls_back", source=str(folder), wanted="openvino", used="torch", reason=str(error)
            )
    from callboard_nlp.engines import torch_engine

    forward = torch_engine.fastest_here(folder, threads, exact=exact)
    return TextEncoder(torch_engine.read_vocabulary(folder), forward)


class Encoders:
    """The encoders of a process by name; the least recently used one makes room for another."""

    def __init__(self, shelf: Shelf, open_folder: Callable[[Path], Encoder], keep: int) -> None:
        self._shelf, self._open, self._keep = shelf, open_folder, keep
        self._held: OrderedDict[Path, Encoder] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> tuple[str, Encoder]:
        """The model's own name (``name`` may be an alias) and its encoder. Raises a JobError."""
        try:
            ref = self._shelf.resolve(name, "embed")
        except Invalid as error:
            raise FinalError(error.detail, code=error.problem_code) from None
        folder = ref.path or _fetched(ref)
        with self._lock:
            if folder not in self._held:
                self._held[folder] = self._opened(ref, folder)
                while len(self._held) > self._keep:
                    self._held.popitem(last=False)
            self._held.move_to_end(folder)
            return ref.name, self._held[folder]

    def _opened(self, ref: ModelRef, folder: Path) -> Encoder:
        try:
            encoder = self._open(folder)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise FinalError(
                f"Model {ref.name} could not be loaded: {error}. Is its folder whole?",
                code="model-not-loadable",
            ) from error
        log.info("model.loaded", model=ref.name, engine=encoder.engine)
        return encoder


def _fetched(ref: ModelRef) -> Path:
    """The local copy of a hub model, fetched if it is not there yet. Raises RetryableError without a network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(ref.name, allow_patterns=_FROM_HUB, ignore_patterns=["*/*"]))
    except (HfHubHTTPError, OSError) as error:
        raise RetryableError(
            f"Model {ref.name} could not be fetched from the hub ({type(error).__name__}). Is there a network?",
            code="model-unavailable",
        ) from error
