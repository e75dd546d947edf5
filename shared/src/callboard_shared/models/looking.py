"""Models that look at pictures: in the operator's folder, by file or folder, and by ultralytics' names for its own.

A name in the operator's folder is the path below it: ``street.onnx``, ``plates/best.onnx``, ``yolo11n_openvino_model``.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from callboard_shared.errors import Invalid
from callboard_shared.jobs.base import Task
from callboard_shared.models import onnx_file
from callboard_shared.models.trusted import sha256_of

_TASKS: dict[str, Task] = {
    "detect": "detect", "segment": "segment", "pose": "pose", "classify": "classify-image", "obb": "obb",
}  # fmt: skip
_TASK_OF_CLASS: dict[str, Task] = {
    "DetectionModel": "detect", "SegmentationModel": "segment", "PoseModel": "pose",
    "ClassificationModel": "classify-image", "OBBModel": "obb",
}  # fmt: skip
_TASK_OF_SUFFIX: dict[str, Task] = {
    "": "detect", "-seg": "segment", "-pose": "pose", "-cls": "classify-image", "-obb": "obb",
}  # fmt: skip
_CLASS = re.compile(rb"ultralytics\.nn\.tasks\n(\w+)\n")
"""How a pickle names a class; it is looked for, and the pickle is not read."""
_DEEPEST = 4
LICENSE = "AGPL-3.0"
"""Of ultralytics' own weights and of what is made from them, if one has no other licence from them."""


def _named() -> Iterator[tuple[str, Task]]:
    for family in ("yolov8", "yolo11", "yolo26"):
        for size in "nsmlx":
            for suffix, task in _TASK_OF_SUFFIX.items():
                yield f"{family}{size}{suffix}", task
    detecting = [
        *(f"yolo12{size}" for size in "nsmlx"),
        *(f"yolov10{size}" for size in "nsmblx"),
        *(f"yolov9{size}" for size in "tsmce"),
    ]
    yield from ((name, "detect") for name in detecting)
    yield from (("yolov9c-seg", "segment"), ("yolov9e-seg", "segment"))


ARCHITECTURES: dict[str, Task] = {f"{name}.yaml": task for name, task in _named()}
"""What ultralytics can train from nothing, and for what."""
FETCHABLE: dict[str, Task] = {
    **{f"{name}.pt": task for name, task in _named()},
    **{f"yolov5{size}u.pt": "detect" for size in "nsmlx"},
    **{f"yolov3{kind}u.pt": "detect" for kind in ("", "-spp", "-tiny")},
}
"""What ultralytics publishes under these names (github.com/ultralytics/assets), and what each does."""


def published(name: str) -> tuple[str, Task] | None:
    """Full name and task of what ultralytics publishes: weights (with or without ``.pt``), or an architecture."""
    if name in ARCHITECTURES:
        return name, "architecture"
    full = name if name.endswith(".pt") else f"{name}.pt"
    task = FETCHABLE.get(full)
    return (full, task) if task else None


def meant(name: str, known: Container[str]) -> str:
    """A file's name where the job leaves out its ending, or asks for weights that are there as ONNX."""
    stem = name.removesuffix(".pt")
    return next((one for one in (name, f"{stem}.onnx", f"{stem}.pt") if one in known), name)


@dataclass(frozen=True, slots=True)
class Looker:
    """A model, ``path`` being its file or folder; or, with ``refusal``, why it is none."""

    name: str
    path: Path
    task: Task = "detect"
    license: str | None = None
    refusal: Invalid | None = None


def lookers_in(root: Path, trusted: Container[str]) -> Iterator[Looker]:
    """``trusted``: sha256 of weights that may be read."""
    for path in _candidates(root, _DEEPEST):
        name = path.relative_to(root).as_posix()
        if "@" not in name:  # name@version is for what was trained here
            yield _looked_at(name, path, trusted)


def _candidates(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir():
            if (entry / "metadata.yaml").is_file() and any(entry.glob("*.xml")):
                yield entry
            elif (
                depth > 1 and not (entry / "config.json").is_file()
            ):  # with it, it is a model of another kind
                yield from _candidates(entry, depth - 1)
        elif entry.suffix in (".onnx", ".pt"):
            yield entry


def _looked_at(name: str, path: Path, trusted: Container[str]) -> Looker:
    try:
        if path.suffix == ".pt":
            return _weights(name, path, trusted)
        stat = (path / "metadata.yaml" if path.is_dir() else path).stat()
        said = _metadata(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError) as error:
        return Looker(name, path, refusal=_refused(f"Model {name!r} cannot be read: {error}."))
    task = _TASKS.get(said.get("task", ""))
    if task is None:
        return Looker(name, path, refusal=_refused(
            f"Model {name!r} does not say what it does: it has no metadata 'task' that is one of {', '.join(_TASKS)}. "
            "Export it with ultralytics (yolo export format=onnx), which writes it."
        ))  # fmt: skip
    return Looker(name, path, task, LICENSE if LICENSE in said.get("license", "") else None)


def _weights(name: str, path: Path, trusted: Container[str]) -> Looker:
    if not trusted or sha256_of(path) not in trusted:
        return Looker(name, path, refusal=_refused(
            f"Model {name!r} is a pickle, which runs code when it is read. If you trust where it comes from, list what "
            f"`sha256sum {path.name}` prints in CALLBOARD_VISION_TRUSTED_WEIGHTS; or export it to ONNX where it was "
            f"made (yolo export model={path.name} format=onnx dynamic=True), and put that here."
        ))  # fmt: skip
    stat = path.stat()
    return Looker(name, path, _task_of_weights(path, stat.st_mtime_ns, stat.st_size))


def _refused(detail: str) -> Invalid:
    return Invalid(detail, code="unsupported-format")


@lru_cache(maxsize=1024)
def _metadata(path: Path, changed_ns: int, size: int) -> dict[str, str]:
    """Of an ONNX file, or of a folder that ultralytics exported for OpenVINO; read once while it stays as it is."""
    if path.is_file():
        return onnx_file.metadata(path)
    lines = (path / "metadata.yaml").read_text("utf-8", "replace").splitlines()
    pairs = (line.partition(": ") for line in lines if line[:1].isalpha())  # nested ones are indented
    return {key: value.strip() for key, _, value in pairs}


@lru_cache(maxsize=1024)
def _task_of_weights(path: Path, changed_ns: int, size: int) -> Task:
    """Raises ValueError if they are none of ultralytics'."""
    try:
        with zipfile.ZipFile(path) as archive:
            pickled = next(one for one in archive.namelist() if one.endswith("/data.pkl"))
            names = _CLASS.findall(archive.read(pickled))
    except (zipfile.BadZipFile, StopIteration) as error:
        raise ValueError("it holds no weights of torch") from error
    for name in names:
        task = _TASK_OF_CLASS.get(name.decode())
        if task is not None:
            return task
    raise ValueError("it holds no model of ultralytics that detects, segments, poses or classifies")
