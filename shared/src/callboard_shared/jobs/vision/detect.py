"""What is in pictures."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from callboard_shared.jobs.base import Batch, FileReference, JobType, ModelReference, Output, PictureInput
from callboard_shared.jobs.vision.example import STOP_SIGN
from callboard_shared.jobs.vision.parts import DEFAULT_DETECTOR, DETECTING, Detection, Labelled, Looking

MAX_IMAGES = 64


class DetectInput(Looking):
    image: PictureInput | None = Field(default=None, description="A picture: JPEG, PNG, WebP or BMP.")
    images: list[PictureInput] | None = Field(
        default=None, min_length=1, max_length=MAX_IMAGES, description="Up to 64 pictures."
    )
    model: ModelReference = Field(
        default=DEFAULT_DETECTOR,
        description="What looks: of the offline pack, a YOLO by name, or trained here.",
    )
    annotate: bool = Field(default=False, description="Also draw what was found into a copy of each picture.")

    @model_validator(mode="after")
    def _one_way_of_asking(self) -> Self:
        if (self.image is None) == (self.images is None):
            raise ValueError("give either 'image' or 'images'")
        return self


class Seen(Output):
    """What was found in one picture."""

    detections: list[Detection] = Field(description="Surest first; empty if nothing was found.")
    classification: list[Labelled] | None = Field(
        default=None, description="Of a classifying model: the five likeliest labels, best first."
    )
    counts: dict[str, int] = Field(description="How many of each label.")
    summary: str = Field(description="One English sentence: what a language model can go on with.")
    width: int = Field(description="Pixels of the picture as it is meant to be seen.")
    height: int
    annotated: FileReference | None = None
    warnings: list[str] | None = Field(
        default=None, description="What one should know: only the first frame of an animation was read, …"
    )


class DetectOutput(Output):
    """With ``image`` its findings stand at the top; with ``images`` they are in a list, in order."""

    detections: list[Detection] | None = None
    classification: list[Labelled] | None = None
    counts: dict[str, int] | None = None
    summary: str | None = None
    width: int | None = None
    height: int | None = None
    annotated: FileReference | None = None
    warnings: list[str] | None = None
    images: list[Seen] | None = None
    model: str
    task: str = Field(description="The model's own: detect, segment, pose, classify-image or obb.")


def _pictures(value: DetectInput) -> int:
    return len(value.images) if value.images is not None else 1


DETECT = JobType(
    name="vision.detect",
    queue="vision",
    input=DetectInput,
    output=DetectOutput,
    summary="Find things in pictures: boxes, outlines, key points or labels, by the model's own task.",
    example={"image": {"base64": STOP_SIGN}},
    batch=Batch(max_jobs=32, by=("model", "image_size", "half"), weigh=_pictures, max_weight=MAX_IMAGES),
    models={"model": DETECTING},
)
