"""OpenVINO: the fastest engine on CPUs, from an export that is made at first use and kept.

Measured in docs/decisions/0004. 16-bit floats are used where the CPU has them and the export's probe shows that
the results stay the same for every text of it: vectors with a cosine ≥ 0.9995 to torch's in float32, probabilities
within 0.01 of them.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from tokenizers import Tokenizer

from callboard_nlp.engines.classifying import softmax
from callboard_nlp.engines.interface import Computes, Floats, Ints, Vocabulary
from callboard_nlp.engines.openvino_alone import openvino

log = structlog.get_logger(__name__)

_FORMAT = "2"
"""Part of the cache's key; raise it when what ``export`` writes changes."""

_EXPORT_S = 600
_SAME_VECTORS, _SAME_PROBABILITIES = 0.9995, 0.01
_MADE_FROM = ("*.safetensors", "*.json", "*.txt", "*.model")


class ExportFailed(RuntimeError):
    """The model could not be written in OpenVINO's format, or computes something else than torch."""


class OpenVinoForward:
    def __init__(self, exported: Path, *, threads: int, exact: bool, task: Computes = "embed") -> None:
        self._task = task
        core = openvino.Core()
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        probe = np.load(exported / "probe.npz")
        for precision, name in (("bf16", "bfloat16"), ("f32", "float32")):
            if precision == "bf16" and (exact or not has_bf16):
                continue
            self._request = _compile(core, exported / "model.xml", precision, threads)
            self.engine = f"openvino {name}"
            off = self._off(probe)
            if off is None:
                return
            log.info("engine.too_coarse", engine=self.engine, off=off)
        raise ExportFailed(f"its results differ from torch's: {off}")

    def __call__(self, ids: Ints, mask: Ints, weights: Floats) -> Floats:
        output: Floats = self._request.infer(
            {"input_ids": ids, "attention_mask": mask}, share_inputs=True, share_outputs=True
        )[0]
        if self._task == "classify":
            return output.copy()  # the request's own buffer is written again by the next call
        pooled: Floats = np.matmul(weights[:, None, :], output)[:, 0, :]
        return pooled

    def _off(self, probe: Any) -> str | None:
        """How far the results for the probe are from torch's; None if they count as the same."""
        mask = probe["mask"]
        weights = (mask / mask.sum(axis=1, keepdims=True)).astype(np.float32)
        ours = self(probe["ids"], mask, weights)
        if self._task == "classify":
            apart = float(np.abs(softmax(ours) - softmax(probe["output"])).max())
            return None if apart <= _SAME_PROBABILITIES else f"probabilities {apart:.3f} apart"
        theirs = np.matmul(weights[:, None, :], probe["output"])[:, 0, :]
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        cosine = float(np.min(np.sum(ours * theirs, axis=1) / lengths))
        return None if cosine >= _SAME_VECTORS else f"cosine {cosine:.5f}"


def open_exported(
    source: Path, cache: Path, *, threads: int, exact: bool, task: Computes = "embed"
) -> tuple[Vocabulary, OpenVinoForward]:
    """Raises ExportFailed or OSError; the caller falls back to torch."""
    exported = exported_model(source, cache, task)
    described = json.loads((exported / "encoder.json").read_bytes())
    vocabulary = Vocabulary(
        Tokenizer.from_file(str(exported / "tokenizer.json")), described["window"], described["pad_id"]
    )
    return vocabulary, OpenVinoForward(exported, threads=threads, exact=exact, task=task)


def exported_model(source: Path, cache: Path, task: Computes = "embed") -> Path:
    """The folder of the export, made now if it is not there: whole or not at all, once for all processes."""
    target = cache / "openvino" / _key(source, task)
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.parent / f"{target.name}.lock"):
        if not target.is_dir():
            _export(source, target, task)
    return target


def _export(source: Path, target: Path, task: Computes) -> None:
    log.info("export.started", source=str(source), note="once for each model; it takes some seconds")
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=target.parent))
    try:
        module = "callboard_nlp.engines.export"
        command = [sys.executable, "-m", module, str(source), str(unfinished), task]
        run = subprocess.run(command, capture_output=True, text=True, timeout=_EXPORT_S, check=False)
        if run.returncode != 0:
            raise ExportFailed((run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1])
        os.replace(unfinished, target)
    except subprocess.TimeoutExpired:
        raise ExportFailed(f"not done after {_EXPORT_S} s") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    log.info("export.done", source=str(source), folder=str(target))


def _key(source: Path, task: Computes) -> str:
    """By content: the weights, the tokenizer, and the versions of what converts them."""
    digest = hashlib.sha256(f"{_FORMAT} {task}".encode())
    for package in ("openvino", "transformers"):
        digest.update(importlib.metadata.version(package).encode())
    for file in sorted({file for pattern in _MADE_FROM for file in source.glob(pattern)}):
        digest.update(file.name.encode())
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:32]


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compile(core: Any, model: Path, precision: str, threads: int) -> Any:
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # several workers of a machine would be pinned to the same cores
    }
    return core.compile_model(model, "CPU", settings).create_infer_request()
