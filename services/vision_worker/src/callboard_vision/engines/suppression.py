"""Non-maximum suppression: of boxes of one class that cover the same thing, the surest stays."""

from __future__ import annotations

import numpy as np

from callboard_vision.engines.interface import Floats, Ints

_EPSILON = 1e-7
_COLUMNS = 512
"""Boxes that are compared with all others at once: bounds the memory."""


def suppressed(boxes: Floats, class_ids: Ints, iou: float, most: int) -> Ints:
    """Indices of the boxes that stay, at most ``most``. ``boxes``: (n, 4), x1 y1 x2 y2, the surest first. One goes if
    its overlap with a box of its class that stays is above ``iou``."""
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1) * (y2 - y1)
    left: Ints = np.arange(len(boxes))
    stay: list[int] = []
    while len(left) and len(stay) < most:
        first, left = left[0], left[1:]
        stay.append(int(first))
        width = np.minimum(x2[first], x2[left]) - np.maximum(x1[first], x1[left])
        height = np.minimum(y2[first], y2[left]) - np.maximum(y1[first], y1[left])
        common = np.maximum(width, 0) * np.maximum(height, 0)
        over = common > np.maximum(iou * (areas[first] + areas[left] - common), 0)
        left = left[~(over & (class_ids[left] == class_ids[first]))]
    return np.array(stay, np.int64)


def suppressed_turned(boxes: Floats, class_ids: Ints, iou: float, most: int) -> Ints:
    """The same for turned boxes (n, 5): centre x, centre y, width, height, angle in radians. One goes if its overlap
    with any surer box of its class is above ``iou``, whether that one stays or not (Fast NMS,
    https://arxiv.org/abs/1904.02689, as ultralytics has it for such boxes)."""
    spread = _covariances(boxes)
    stays = np.ones(len(boxes), np.bool_)
    for start in range(0, len(boxes), _COLUMNS):
        columns = slice(start, min(start + _COLUMNS, len(boxes)))
        overlap = _overlap(boxes[: columns.stop], spread[: columns.stop], boxes[columns], spread[columns])
        surer = np.arange(columns.stop)[:, None] < np.arange(columns.start, columns.stop)[None, :]
        same = class_ids[: columns.stop, None] == class_ids[None, columns]
        stays[columns] = ~((overlap > iou) & surer & same).any(axis=0)
    return np.flatnonzero(stays)[:most]


def _covariances(boxes: Floats) -> Floats:
    """Of the boxes as normal distributions: (n, 3), xx yy xy."""
    width, height, angle = boxes[:, 2] ** 2 / 12, boxes[:, 3] ** 2 / 12, boxes[:, 4]
    cos, sin = np.cos(angle), np.sin(angle)
    spread: Floats = np.stack(
        [width * cos**2 + height * sin**2, width * sin**2 + height * cos**2, (width - height) * cos * sin], 1
    )
    return spread


def _overlap(some: Floats, some_spread: Floats, others: Floats, others_spread: Floats) -> Floats:
    """Probabilistic IoU (https://arxiv.org/abs/2106.06072): one less the Hellinger distance, (some, others)."""
    dx, dy = (some[:, None, axis] - others[None, :, axis] for axis in (0, 1))
    xx, yy, xy = (some_spread[:, None, part] + others_spread[None, :, part] for part in range(3))
    determinant = xx * yy - xy**2
    apart = (xx * dy**2 + yy * dx**2) / (determinant + _EPSILON) / 4
    apart += (xy * -dx * dy) / (determinant + _EPSILON) / 2
    own, theirs = (
        np.maximum(spread[:, 0] * spread[:, 1] - spread[:, 2] ** 2, 0)
        for spread in (some_spread, others_spread)
    )
    scale = 4 * np.sqrt(own[:, None] * theirs[None, :]) + _EPSILON
    apart += np.log(determinant / scale + _EPSILON) / 2
    distance = np.sqrt(1 - np.exp(-np.clip(apart, _EPSILON, 100)) + _EPSILON)
    overlap: Floats = 1 - distance
    return overlap
