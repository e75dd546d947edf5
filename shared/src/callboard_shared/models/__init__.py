"""Models by name.

info.py      what the API says of a model
shelf.py     those for everybody: offline pack, the operator's folder, hub names
looking.py   of these, what looks at pictures: files, folders, and what ultralytics publishes
onnx_file.py what an ONNX file says of itself
trusted.py   which pickled weights may be read
trained.py   records of what was trained here, and of checkpoints
store.py     publishes and fetches what was trained (workers)
finder.py    from a name in a job's input to a model
memory.py    the few that a process holds
making.py    the default models that the set-up makes
"""

from callboard_shared.models.info import ModelInfo
from callboard_shared.models.shelf import (
    KIND_OF_TASK,
    HubSettings,
    ModelRef,
    Shelf,
    canonical,
    publishes,
    unknown_model,
)
from callboard_shared.models.trained import Checkpoint, Part, TrainedModel

__all__ = [
    "KIND_OF_TASK", "Checkpoint", "HubSettings", "ModelInfo", "ModelRef", "Part", "Shelf", "TrainedModel",
    "canonical", "publishes", "unknown_model",
]  # fmt: skip
