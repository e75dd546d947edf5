"""From ultralytics' weights to ONNX: ``exported(weights, cache)``, once for all processes.

    python -m callboard_vision.engines.export WEIGHTS TARGET CACHE

is the process of its own in which it happens, so that a worker never holds what an export needs.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from callboard_shared.models.trusted import sha256_of
from callboard_vision.engines.description import NotLoadable

log = structlog.get_logger(__name__)

_FORMAT = "1"
"""Part of the cache's key; raise it when what ``write_onnx`` writes changes."""
_EXPORT_S = 600


def exported(weights: Path, cache: Path) -> Path:
    """The ONNX file of trusted weights, made now if it is not in the cache: whole or not at all. Raises NotLoadable."""
    target = cache / "onnx" / f"{_key(weights)}.onnx"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.with_suffix(".lock")):
        if not target.is_file():
            to_onnx(weights, target, cache)
    return target


def to_onnx(weights: Path, target: Path, cache: Path) -> None:
    """Write trusted weights as an ONNX file of any batch and size. Raises NotLoadable, saying why."""
    log.info("export.started", source=weights.name, note="once for each model; it takes some seconds")
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=target.parent) as scratch:
        unfinished = Path(scratch) / "model.onnx"
        command = [sys.executable, "-m", __name__, str(weights), str(unfinished), str(cache)]
        try:
            run = subprocess.run(
                command, capture_output=True, text=True, timeout=_EXPORT_S, check=False, cwd=scratch,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise NotLoadable(f"{weights.name} was not exported to ONNX after {_EXPORT_S} s.") from None
        if run.returncode != 0 or not unfinished.is_file():
            reason = (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1]
            raise NotLoadable(f"{weights.name} could not be exported to ONNX: {reason}")
        os.replace(unfinished, target)
    log.info("export.done", source=weights.name, file=str(target))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _key(weights: Path) -> str:
    """By content: of the weights, and the version of what converts them."""
    made_by = f"{_FORMAT} {importlib.metadata.version('ultralytics')} {sha256_of(weights)}"
    return hashlib.sha256(made_by.encode()).hexdigest()[:32]


def write_onnx(weights: Path, target: Path, cache: Path) -> None:
    """In this process; a copy of the weights is left beside ``target``."""
    from callboard_vision.engines.quiet_ultralytics import ultralytics

    copy = target.with_suffix(".pt")  # ultralytics writes beside what it reads
    shutil.copyfile(weights, copy)
    model = ultralytics(cache).YOLO(str(copy))
    size = model.overrides.get("imgsz") or 640
    written = model.export(
        format="onnx", dynamic=True, simplify=False, imgsz=size, device="cpu", verbose=False
    )
    if Path(written) != target:
        os.replace(written, target)


if __name__ == "__main__":
    write_onnx(*map(Path, sys.argv[1:4]))
