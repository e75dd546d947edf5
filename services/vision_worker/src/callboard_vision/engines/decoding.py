"""From what a network puts out for one picture to what was found in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from callboard_vision.engines.interface import Findings, Floats, Options, VisionTask
from callboard_vision.engines.outlines import outlines
from callboard_vision.engines.placement import Placement
from callboard_vision.engines.suppression import suppressed, suppressed_turned

_MOST_CANDIDATES = 30_000
"""More than so many boxes are not compared with each other: the surest are."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read the output. ``classes``: how many; ``keypoints``: how many, and numbers of each (2 or 3); ``ranked``:
    the network itself has picked the boxes (exports of YOLO26, of YOLOv10, or with ``nms=True``)."""

    task: VisionTask
    classes: int
    keypoints: tuple[int, int] = (0, 0)
    ranked: bool = False

    @property
    def extras(self) -> int | None:
        """Numbers of a box besides its place and classes; None: as many as there are (coefficients of masks)."""
        if self.task == "segment":
            return None
        return {"pose": self.keypoints[0] * self.keypoints[1], "obb": 1}.get(self.task, 0)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an output of one picture can be read so."""
        if self.task == "classify-image":
            return shape == (self.classes,)
        if len(shape) != 2:
            return False
        beside = shape[1] - 6 if self.ranked else shape[0] - 4 - self.classes
        return beside == self.extras if self.extras is not None else beside > 0


@dataclass(frozen=True, slots=True)
class _Rows:
    """The boxes that were picked, the surest first: as the network has them, with their extras (n, …)."""

    boxes: Floats
    confidences: Floats
    class_ids: np.ndarray[tuple[int], np.dtype[np.int64]]
    extras: Floats

    def of(self, which: np.ndarray[tuple[int], np.dtype[np.int64]]) -> _Rows:
        return _Rows(self.boxes[which], self.confidences[which], self.class_ids[which], self.extras[which])


def decoded(outputs: list[Floats], place: Placement, options: Options, layout: Layout) -> Findings:
    """``outputs``: of one picture, without the batch's dimension."""
    if layout.task == "classify-image":
        return _nothing(probabilities=outputs[0].astype(np.float32))
    rows = (_ranked if layout.ranked else _picked)(outputs[0], options, layout)
    if layout.task == "obb":
        return _turned(rows, place)
    found_outlines = keypoints = None
    if layout.task == "segment":
        found_outlines, seen = outlines(outputs[1], rows.extras, rows.boxes, place)
        rows = rows.of(seen)
    elif layout.task == "pose":
        keypoints = _keypoints(rows.extras, place, layout)
    boxes = place.back(rows.boxes.reshape(-1, 2, 2)).reshape(-1, 4)
    return Findings(boxes, rows.confidences, rows.class_ids, outlines=found_outlines, keypoints=keypoints)


def _nothing(probabilities: Floats) -> Findings:
    return Findings(
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.float32),
        np.zeros(0, np.int64),
        probabilities=probabilities,
    )


def _ranked(output: Floats, options: Options, layout: Layout) -> _Rows:
    """Of (boxes, 6 + extras): box, confidence, class, extras."""
    keep = output[:, 4] > options.confidence
    if options.classes is not None:
        keep &= np.isin(output[:, 5], options.classes)
    rows = output[keep].astype(np.float32)
    rows = rows[np.argsort(-rows[:, 4], kind="stable")][: options.max_detections]
    return _Rows(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64), rows[:, 6:])


def _picked(output: Floats, options: Options, layout: Layout) -> _Rows:
    """Of (4 + classes + extras, boxes): each box has the class that is likeliest."""
    scores = output[4 : 4 + layout.classes]
    keep = np.flatnonzero(scores.max(axis=0) > options.confidence)
    columns = output[:, keep].astype(np.float32)
    scores = columns[4 : 4 + layout.classes]
    class_ids, confidences = scores.argmax(axis=0), scores.max(axis=0)
    if options.classes is not None:
        wanted = np.isin(class_ids, options.classes)
        columns, class_ids, confidences = columns[:, wanted], class_ids[wanted], confidences[wanted]
    order = np.argsort(-confidences, kind="stable")[:_MOST_CANDIDATES]
    columns = columns[:, order].T
    boxes, extras = columns[:, :4], columns[:, 4 + layout.classes :]
    rows = _Rows(boxes, confidences[order], class_ids[order].astype(np.int64), extras)
    if layout.task == "obb":
        turned = np.concatenate([boxes, extras[:, -1:]], axis=1)
        return rows.of(suppressed_turned(turned, rows.class_ids, options.iou, options.max_detections))
    halves = boxes[:, 2:] / 2
    corners = np.concatenate([boxes[:, :2] - halves, boxes[:, :2] + halves], axis=1)
    rows = _Rows(corners, rows.confidences, rows.class_ids, rows.extras)
    return rows.of(suppressed(corners, rows.class_ids, options.iou, options.max_detections))


def _turned(rows: _Rows, place: Placement) -> Findings:
    """Turned boxes may reach over the picture's edge, as ultralytics leaves them."""
    centres = place.back(rows.boxes[:, :2], within=False)
    gain = np.array([place.scaled[1] / place.picture[1], place.scaled[0] / place.picture[0]], np.float32)
    width, height = (rows.boxes[:, 2:4] / gain / 2).T
    cos, sin = np.cos(rows.extras[:, -1]), np.sin(rows.extras[:, -1])
    along = np.stack([width * cos, width * sin], axis=1)
    across = np.stack([-height * sin, height * cos], axis=1)
    corners = np.stack(
        [
            centres + along + across,
            centres + along - across,
            centres - along - across,
            centres - along + across,
        ],
        1,
    ).astype(np.float32)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return Findings(boxes, rows.confidences, rows.class_ids, corners=corners)


def _keypoints(extras: Floats, place: Placement, layout: Layout) -> Floats:
    count, numbers = layout.keypoints
    points = extras.reshape(-1, count, numbers)
    sure = points[..., 2:3] if numbers == 3 else np.ones((*points.shape[:2], 1), np.float32)
    return np.concatenate([place.back(points[..., :2]), sure], axis=2)
