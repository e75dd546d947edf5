"""What the vision jobs share: how they name models, pictures and classes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from callboard_shared.jobs.base import Input, Output, Task

DEFAULT_DETECTOR = "yolov3-tiny"
"""COCO's 80 classes; made by the set-up, so that detection works offline."""

DETECTING: tuple[Task, ...] = ("detect", "segment", "pose", "classify-image", "obb")
"""Every task of a model that looks at pictures: boxes, outlines, key points, labels of the whole, turned boxes."""
FOLLOWING: tuple[Task, ...] = ("detect", "segment", "pose", "obb")
"""Those whose findings have a place, so that they can be followed from frame to frame."""

ClassName = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Looking(Input):
    """How a model looks at a picture."""

    confidence: float = Field(default=0.25, ge=0, le=1, description="The least a detection must have.")
    iou: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="Of two boxes of a class that overlap by more, the surer one stays.",
    )
    classes: list[ClassName | int] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Only these, by name or number; all if not given.",
    )
    max_detections: int = Field(default=300, ge=1, le=3000, description="The surest so many in a picture.")
    image_size: int = Field(
        default=640,
        ge=32,
        le=4096,
        multiple_of=32,
        description="Pixels of the longer side as the network sees it; a model with a fixed size keeps its own.",
    )
    half: bool = Field(default=False, description="16-bit floats, on a GPU.")


class Detection(Output):
    """One thing that was found. Pixels are those of the picture as it is meant to be seen (EXIF turned)."""

    label: str
    class_id: int
    confidence: float = Field(description="0…1.")
    box: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2 in pixels.")
    corners: list[tuple[float, float]] | None = Field(
        default=None, description="Of a turned box: its four corners in pixels."
    )
    mask: list[list[tuple[float, float]]] | None = Field(
        default=None, description="Of a segmenting model: the outlines of its parts, in pixels."
    )
    keypoints: list[tuple[float, float, float]] | None = Field(
        default=None, description="Of a pose model: x, y in pixels and confidence of each point."
    )


class Labelled(Output):
    """What a classifying model says of the whole picture."""

    label: str
    class_id: int
    confidence: float
