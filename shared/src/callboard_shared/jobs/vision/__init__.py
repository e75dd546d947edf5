"""Jobs of the vision worker. Training has a queue of its own, so that it holds up no detection."""

from callboard_shared.jobs.vision.detect import DETECT, MAX_IMAGES, DetectInput, DetectOutput, Seen
from callboard_shared.jobs.vision.parts import (
    DEFAULT_DETECTOR,
    DETECTING,
    FOLLOWING,
    Detection,
    Labelled,
    Looking,
)
from callboard_shared.jobs.vision.track import (
    TRACK,
    Crossings,
    Followed,
    Frame,
    Line,
    TrackInput,
    TrackOutput,
)
from callboard_shared.jobs.vision.train import DEFAULT_BASE, TRAIN, TrainInput, TrainOutput

__all__ = [
    "DEFAULT_BASE", "DEFAULT_DETECTOR", "DETECT", "DETECTING", "FOLLOWING", "MAX_IMAGES", "TRACK", "TRAIN",
    "Crossings", "DetectInput", "DetectOutput", "Detection", "Followed", "Frame", "Labelled", "Line", "Looking",
    "Seen", "TrackInput", "TrackOutput", "TrainInput", "TrainOutput",
]  # fmt: skip
