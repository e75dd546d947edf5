"""Models by name.

info.py      what the API says of a model
shelf.py     those for everybody: offline pack, the operator's folder, hub names
trained.py   records of what was trained here, and of checkpoints
store.py     publishes and fetches what was trained (workers)
finder.py    from a name in a job's input to a model
memory.py    the few that a process holds
"""

from callboard_shared.models.info import ModelInfo
from callboard_shared.models.shelf import KIND_OF_TASK, HubSettings, ModelRef, Shelf, canonical, unknown_model
from callboard_shared.models.trained import Checkpoint, Part, TrainedModel

__all__ = [
    "KIND_OF_TASK", "Checkpoint", "HubSettings", "ModelInfo", "ModelRef", "Part", "Shelf", "TrainedModel",
    "canonical", "unknown_model",
]  # fmt: skip
