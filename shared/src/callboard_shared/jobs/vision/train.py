"""Training a detector of one's own."""

from __future__ import annotations

from pydantic import Field

from callboard_shared.jobs.base import (
    FileInput,
    FileReference,
    Input,
    JobType,
    Limits,
    ModelReference,
    NewModelName,
    Output,
)
from callboard_shared.jobs.vision.example import SHAPES
from callboard_shared.jobs.vision.parts import DETECTING

DEFAULT_BASE = "yolo11n.yaml"
"""An architecture: training starts from nothing. Weights (``yolo11n.pt``) start it from what they know."""


class TrainInput(Input):
    dataset: FileInput = Field(
        description="A zip in YOLO layout: data.yaml, images/train, images/val, labels/train, labels/val; for a "
        "classifier folders of pictures by class: train/cat, val/cat, …"
    )
    base_model: ModelReference = Field(
        default=DEFAULT_BASE,
        description="An architecture (`yolo11n.yaml`), weights (`yolo11n.pt`), or a model that was trained here.",
    )
    epochs: int = Field(default=100, ge=1, le=10_000)
    image_size: int = Field(default=640, ge=32, le=4096, multiple_of=32)
    batch_size: int = Field(default=16, ge=1, le=1024)
    learning_rate: float | None = Field(
        default=None, gt=0, le=1, description="Of AdamW; ultralytics chooses both if not given."
    )
    patience: int = Field(
        default=100, ge=1, le=10_000, description="Epochs without progress after which it ends."
    )
    freeze: int | None = Field(
        default=None, ge=1, le=50, description="So many first layers stay as they are."
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    name: NewModelName = Field(default="detector")


class TrainOutput(Output):
    model: str = Field(description="name@version: can be named by vision.detect and vision.track at once.")
    base_model: str
    task: str = Field(description="The base's: detect, segment, pose, classify-image or obb.")
    map50: float | None = Field(
        default=None,
        description="Mean average precision at an overlap of 0.5, of the weights that were kept; no classifier has it.",
    )
    map50_95: float | None = Field(default=None, description="Its mean over overlaps from 0.5 to 0.95.")
    precision: float | None = None
    recall: float | None = None
    measures: dict[str, float] = Field(
        description="All that was measured of these weights: also of outlines (mask_map50, …), key points "
        "(keypoint_map50, …), and of a classifier accuracy and accuracy_top5."
    )
    history: list[dict[str, float]] = Field(
        description="Per epoch: epoch, losses (box_loss, cls_loss, dfl_loss, …, val_box_loss, …) and the measures."
    )
    classes: list[str]
    train_images: int
    eval_images: int
    epochs: int = Field(description="Those that were run.")
    resumed_from_epoch: int | None = None
    files: dict[str, FileReference] = Field(description="Curves, confusion matrix, weights (.pt and .onnx).")
    warnings: list[str] | None = None


TRAIN = JobType(
    name="vision.train",
    queue="vision-train",
    input=TrainInput,
    output=TrainOutput,
    summary="Train a detector (or segmenter, …) on pictures of one's own, in YOLO layout.",
    example={"dataset": {"base64": SHAPES}, "epochs": 1, "image_size": 64, "batch_size": 4, "name": "shapes"},
    limits=Limits(timeout_s=86_400),
    models={"base_model": (*DETECTING, "architecture")},
)
