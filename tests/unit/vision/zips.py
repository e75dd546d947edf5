"""Data sets in memory."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from callboard_shared.errors import FinalError
from callboard_shared.pictures import PictureSettings
from callboard_vision.data.archive import Limits
from callboard_vision.data.dataset import Prepared, prepare

Files = Mapping[str, bytes | str]


def picture(width: int = 32, height: int = 24, suffix: str = ".png", shade: int = 90) -> bytes:
    return bytes(cv2.imencode(suffix, np.full((height, width, 3), shade, np.uint8))[1])


def a_zip(files: Files) -> io.BytesIO:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content


YAML = "train: images/train\nval: images/val\nnames: [dog, cat]\n"


def detecting(**changed: bytes | str | None) -> dict[str, bytes | str]:
    """Two pictures to train on and one to measure on. ``changed``: by path, ``__`` for ``/`` and ``_dot_`` for the dot;
    None takes a file away."""
    files: dict[str, bytes | str] = {"data.yaml": YAML}
    for path, shade in (("train/a", 10), ("train/b", 20), ("val/c", 30)):
        files[f"images/{path}.png"] = picture(shade=shade)
        files[f"labels/{path}.txt"] = "0 0.5 0.5 0.25 0.5\n"
    return changing(
        files, {name.replace("__", "/").replace("_dot_", "."): data for name, data in changed.items()}
    )


def changing(files: Files, changed: Mapping[str, bytes | str | None]) -> dict[str, bytes | str]:
    both = {**files, **changed}
    return {name: data for name, data in both.items() if data is not None}


def prepared(files: Files | io.BytesIO, folder: Path, task: Any = "detect", **given: Any) -> Prepared:
    content = files if isinstance(files, io.BytesIO) else a_zip(files)
    target = folder / f"prepared-{len(list(folder.iterdir()))}"
    target.mkdir()
    given = {
        "seed": 0,
        "threads": 2,
        "check": lambda done, total: None,
        "pictures": PictureSettings(),
        **given,
    }
    return prepare(content, task, target, **given)


def faults(
    files: Files | io.BytesIO, folder: Path, task: Any = "detect", **given: Any
) -> list[dict[str, Any]]:
    """What is said to be wrong; nothing else is left behind than what is within ``folder``."""
    with pytest.raises(FinalError) as refused:
        prepared(files, folder, task, **given)
    assert refused.value.problem_code == "dataset-invalid" and refused.value.errors
    assert all(one["field"] == "input.dataset" for one in refused.value.errors)
    assert refused.value.errors[0]["message"] in refused.value.detail
    return refused.value.errors


SMALL = Limits(
    entries=20, directory_bytes=4096, total_bytes=200_000, file_bytes=100_000, ratio=20, free_bytes=10_000
)
