"""ultralytics as a training needs it, besides being quiet: with fonts, and with no model to be fetched.

It looks for Arial on the network before it draws, loads a model from there to see whether mixed precision works, and
sets torch's threads to one less than the machine has.
"""

from __future__ import annotations

import os
import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from callboard_vision.engines.quiet_ultralytics import ultralytics

_FONTS = ("Arial.ttf", "Arial.Unicode.ttf")
"""What it looks for in its folder before it looks on the network."""
_NO_MIXED_PRECISION = re.compile(
    r"(nvidia|geforce|quadro|tesla).*?(1660|1650|1630|t400|t550|t600|t1000|t1200|t2000|k40m)", re.IGNORECASE
)
"""GPUs on which it gives nonsense (ultralytics.utils.checks.check_amp)."""


def training_library(cache: Path, threads: int) -> None:
    """Import ultralytics for a training with ``threads`` of the CPU; ``cache``: the folder of what outlives jobs."""
    os.environ.setdefault("MPLCONFIGDIR", str(cache / "matplotlib"))
    import matplotlib as mpl

    mpl.use("agg")
    fonts = ultralytics(cache).utils.USER_CONFIG_DIR
    for font in _FONTS:
        if not (fonts / font).exists():
            _put_font(fonts / font)
    _module("utils.torch_utils").NUM_THREADS = threads
    _module("engine.trainer").check_amp = _mixed_precision_works


def _module(name: str) -> Any:
    return import_module(f"ultralytics.{name}")


def _mixed_precision_works(model: Any) -> bool:
    import torch

    device = next(model.parameters()).device
    return device.type == "cuda" and not _NO_MIXED_PRECISION.search(torch.cuda.get_device_name(device))


def _put_font(path: Path) -> None:
    from matplotlib import font_manager

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    shutil.copyfile(font_manager.findfont("DejaVu Sans"), unfinished)
    unfinished.replace(path)
