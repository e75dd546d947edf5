"""From the prototypes of a segmenting network to outlines: polygons in pixels of the picture."""

from __future__ import annotations

import cv2
import numpy as np

from callboard_vision.engines.interface import Floats, Ints
from callboard_vision.engines.placement import Placement

_EDGE = 1
"""Cells of a prototype beyond a box, so that its edge is interpolated as within the whole."""
_LEAST_POINTS = 3


def outlines(
    prototypes: Floats, coefficients: Floats, boxes: Floats, place: Placement
) -> tuple[list[list[Floats]], Ints]:
    """Of each box its polygons, and which boxes have any pixel at all; the others are left out.

    ``prototypes``: (masks, height, width), a fraction of the input's size; ``coefficients``: (n, masks);
    ``boxes``: (n, 4), x1 y1 x2 y2 in pixels of the input.
    """
    found: list[list[Floats]] = []
    seen: list[int] = []
    for index, (weights, box) in enumerate(zip(coefficients, boxes, strict=True)):
        mask, left, top = _mask(prototypes, weights, box, place.size)
        if not mask.any():
            continue
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top))
        polygons = [contour.reshape(-1, 2).astype(np.float32) for contour in contours]
        found.append([place.back(polygon) for polygon in polygons if len(polygon) >= _LEAST_POINTS])
        seen.append(index)
    return found, np.array(seen, np.int64)


def _mask(
    prototypes: Floats, weights: Floats, box: Floats, size: tuple[int, int]
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.uint8]], int, int]:
    """Zeros and ones within the box, and where in the input its left upper corner is."""
    rows, columns = prototypes.shape[1:]
    across, down = size[1] / columns, size[0] / rows
    x1, y1, x2, y2 = np.clip(np.ceil(box), 0, [size[1], size[0], size[1], size[0]]).astype(int)
    if x2 <= x1 or y2 <= y1:
        return np.zeros((0, 0), np.uint8), 0, 0
    if across.is_integer() and down.is_integer():
        first_column, last_column = (
            max(int(x1 // across) - _EDGE, 0),
            min(int(-(-x2 // across)) + _EDGE, columns),
        )
        first_row, last_row = max(int(y1 // down) - _EDGE, 0), min(int(-(-y2 // down)) + _EDGE, rows)
    else:
        first_column, last_column, first_row, last_row = 0, columns, 0, rows
    part = prototypes[:, first_row:last_row, first_column:last_column]
    small = np.tensordot(weights, part, axes=1)
    scaled = (round((last_column - first_column) * across), round((last_row - first_row) * down))
    large = cv2.resize(small, scaled, interpolation=cv2.INTER_LINEAR)
    left, top = round(first_column * across), round(first_row * down)
    mask = (large[y1 - top : y2 - top, x1 - left : x2 - left] > 0).astype(np.uint8)
    return mask, int(x1), int(y1)
