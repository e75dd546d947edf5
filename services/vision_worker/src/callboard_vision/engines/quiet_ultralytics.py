"""ultralytics, kept to itself: it prints nothing, installs nothing, reports nothing, asks no network, and writes its
settings below the cache. Whatever uses it takes it from here, so that no process of ours imports it first.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from PIL import Image

_INTEGRATIONS = (
    "sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb", "vscode_msg", "openvino_msg",
)  # fmt: skip


def ultralytics(cache: Path, *, online: bool = False) -> Any:
    """The module. ``online``: it may ask a network; only the fetching of weights does, in a process of its own."""
    config = cache / "ultralytics" / "config"
    config.mkdir(parents=True, exist_ok=True)
    os.environ["YOLO_CONFIG_DIR"] = str(config)
    os.environ["YOLO_OFFLINE"] = "false" if online else "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["YOLO_VERBOSE"] = "false"
    os.environ["ULTRALYTICS_SAFE_LOAD"] = "true"  # of a pickle, only the classes of models are built
    open_picture = Image.open
    import ultralytics as module
    from ultralytics.utils import SETTINGS
    from ultralytics.utils.events import events

    Image.open = open_picture  # its own would install a package at the first picture that is none

    dict.update(
        SETTINGS, dict.fromkeys(_INTEGRATIONS, False)
    )  # its own update would write the file each time
    events.enabled = False
    return module
