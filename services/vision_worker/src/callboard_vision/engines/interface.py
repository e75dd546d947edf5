"""What handlers know of an engine, and what an engine must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""A picture: (height, width, 3), blue, green, red, as OpenCV has it; turned as it is meant to be seen."""
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

VisionTask = Literal["detect", "segment", "pose", "classify-image", "obb"]


@dataclass(frozen=True, slots=True)
class Options:
    """How to look. ``confidence``, ``iou``: 0…1; ``classes``: ids, None for all; ``image_size``: pixels of the longer
    side as the network sees it (a model exported with a fixed size keeps its own)."""

    confidence: float = 0.25
    iou: float = 0.7
    classes: tuple[int, ...] | None = None
    max_detections: int = 300
    image_size: int = 640
    half: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of one thing besides its box; see ``Findings``."""

    corners: Floats | None = None
    outlines: Sequence[Floats] = ()
    keypoints: Floats | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """Of one picture, n things, the surest first; all pixels are those of the picture that was given.

    boxes: float32 (n, 4), x1 y1 x2 y2; confidences: float32 (n,); class_ids: int64 (n,);
    corners: float32 (n, 4, 2) of a model of turned boxes; outlines: by thing its polygons, each float32 (points, 2),
    of a segmenting model; keypoints: float32 (n, k, 3), x y confidence, of a pose model;
    probabilities: float32 (classes,) of a classifying model (then n is 0)."""

    boxes: Floats
    confidences: Floats
    class_ids: Ints
    corners: Floats | None = None
    outlines: list[list[Floats]] | None = None
    keypoints: Floats | None = None
    probabilities: Floats | None = None

    def __len__(self) -> int:
        return len(self.confidences)

    def shape(self, place: int) -> Shape:
        return Shape(
            None if self.corners is None else self.corners[place],
            () if self.outlines is None else self.outlines[place],
            None if self.keypoints is None else self.keypoints[place],
        )


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """``names``: label by class id; ``stride``: what the sides of its input are multiples of; ``fixed_size``: (height,
    width) of its input if it takes no other; ``skeleton``: pairs of key points that belong together."""

    task: VisionTask
    names: Mapping[int, str]
    stride: int = 32
    fixed_size: tuple[int, int] | None = None
    skeleton: Sequence[tuple[int, int]] = field(default=())


class Detector(Protocol):
    """A model that looks at pictures."""

    @property
    def engine(self) -> str:
        """What computes, for people: ``onnxruntime cpu``."""

    @property
    def facts(self) -> ModelFacts: ...

    def detect(self, pictures: Sequence[Pixels], options: Sequence[Options]) -> list[Findings]:
        """What is in each picture, in order; ``options`` has one entry a picture, and all entries agree in
        ``image_size`` and ``half``, so that the pictures can go through the network together."""
