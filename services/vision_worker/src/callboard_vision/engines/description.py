"""What an exported model says of itself: the metadata that ultralytics writes into its exports."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callboard_shared.errors import FinalError
from callboard_shared.models import onnx_file
from callboard_vision.engines.decoding import Layout
from callboard_vision.engines.interface import ModelFacts, VisionTask

TASKS: dict[str, VisionTask] = {
    "detect": "detect", "segment": "segment", "pose": "pose", "classify": "classify-image", "obb": "obb",
}  # fmt: skip
"""ultralytics' names of tasks, and ours."""

_OURS: dict[str, VisionTask] = {task: task for task in TASKS.values()}
_STRIDE = 32
_PERSON = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
    (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip
"""How COCO's 17 key points of a person hang together, counted from 0 (https://cocodataset.org/#keypoints-2020)."""


class NotLoadable(FinalError):
    """A file that is no model, or not one that can be read here."""

    code = "model-not-loadable"


@dataclass(frozen=True, slots=True)
class Description:
    facts: ModelFacts
    layout: Layout
    trained_size: tuple[int, int] | None
    """Height and width, if it says so."""


def described(metadata: Mapping[str, Any], name: str) -> Description:
    """``metadata`` as an export has it, its values texts or parsed; ``name``: of the model, for people. Raises
    NotLoadable if it does not say what is needed."""
    said = {key: _parsed(value) for key, value in metadata.items()}
    task = TASKS.get(str(said.get("task")), _OURS.get(str(said.get("task"))))
    names = said.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if task is None or not isinstance(names, dict) or not names:
        raise NotLoadable(
            f"{name} does not say what it finds: the metadata 'task' ({', '.join(TASKS)}) and 'names' are missing or "
            "unknown. Export it with ultralytics, which writes them, or put a config.json with them beside model.onnx."
        )
    arguments = said.get("args")
    ranked = bool(said.get("end2end") or (isinstance(arguments, dict) and arguments.get("nms")))
    points = said.get("kpt_shape") or (0, 0)
    if task == "pose" and not (len(points) == 2 and points[0] > 0 and points[1] in (2, 3)):
        raise NotLoadable(f"{name} is a pose model and does not say its 'kpt_shape'.")
    size = said.get("imgsz")
    trained = (int(size[0]), int(size[-1])) if isinstance(size, (list, tuple)) and size else None
    fixed = said.get("fixed_size")
    labels = {int(key): str(value) for key, value in names.items()}
    facts = ModelFacts(
        task,
        labels,
        int(said.get("stride") or _STRIDE),
        (int(fixed[0]), int(fixed[1])) if fixed else None,
        skeleton=_PERSON if tuple(points)[:1] == (17,) else (),
    )
    return Description(facts, Layout(task, len(labels), (int(points[0]), int(points[1])), ranked), trained)


def _parsed(value: Any) -> Any:
    """Numbers, lists and dictionaries are written as Python writes them."""
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def onnx_metadata(model: Path) -> dict[str, Any]:
    """What an ONNX file says of itself, and before it what the ``config.json`` of its folder says, if that is a model's
    own. Raises NotLoadable."""
    try:
        said = onnx_file.metadata(model)
    except (OSError, ValueError) as error:
        raise NotLoadable(f"{model.name} is no ONNX model: {error}.") from error
    return {**said, **_config(model.parent)} if model.name == "model.onnx" else dict(said)


def _config(folder: Path) -> dict[str, Any]:
    try:
        said = json.loads((folder / "config.json").read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise NotLoadable(f"The config.json of {folder.name} is no JSON: {error}.") from error
    if not isinstance(said, dict):
        raise NotLoadable(f"The config.json of {folder.name} is no object.")
    return said
