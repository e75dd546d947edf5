"""Where a picture lies in the input of a network, and how to come back from there.

The rules are those by which YOLO models are trained and judged: scaled until it fits, in the middle, grey around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from callboard_vision.engines.interface import Floats, ModelFacts, Pixels

_GREY = 114


@dataclass(frozen=True, slots=True)
class Placement:
    """``picture``: its own height and width; ``size``: those of the network's input; ``scaled``: of the picture in it,
    which begins at ``left``, ``top``."""

    picture: tuple[int, int]
    size: tuple[int, int]
    scaled: tuple[int, int]
    left: int
    top: int

    def back(self, points: Floats, *, within: bool = True) -> Floats:
        """Points (…, 2) of the input as points of the picture; ``within``: none outside of it."""
        height, width = self.picture
        offset = np.array([self.left, self.top], np.float32)
        gain = np.array([self.scaled[1] / width, self.scaled[0] / height], np.float32)
        points = (points - offset) / gain
        return np.clip(points, 0, np.array([width, height], np.float32)) if within else points


def placed(picture: tuple[int, int], image_size: int, facts: ModelFacts) -> Placement:
    """``picture``: its height and width. A model that takes any size gets the least of grey: sides are padded to the
    next multiple of its stride."""
    height, width = picture
    if facts.fixed_size is None:
        whole = -(-image_size // facts.stride) * facts.stride
        outer = (whole, whole)
    else:
        outer = facts.fixed_size
    gain = min(outer[0] / height, outer[1] / width)
    scaled = max(round(height * gain), 1), max(round(width * gain), 1)
    if facts.fixed_size is None:
        size = tuple(-(-side // facts.stride) * facts.stride for side in scaled)
    else:
        size = outer
    left, top = (round((size[axis] - scaled[axis]) / 2 - 0.1) for axis in (1, 0))
    return Placement(picture, (size[0], size[1]), scaled, left, top)


def letterbox(picture: Pixels, place: Placement, into: Pixels) -> None:
    """Draws the picture at its place into a (height, width, 3) array."""
    into[:] = _GREY
    height, width = place.scaled
    if picture.shape[:2] != place.scaled:
        scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        scaled = picture
    into[place.top : place.top + height, place.left : place.left + width] = scaled


def centre_crop(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """What a classifying model sees: the middle of the picture, scaled by its shorter side (both sides if the input is
    no square), as torchvision's Resize and CenterCrop on a Pillow image."""
    from PIL import Image

    height, width = picture.shape[:2]
    if size[0] == size[1]:
        short = min(height, width)
        scaled = (int(size[0] * width / short), int(size[0] * height / short))
    else:
        scaled = (size[1], size[0])
    image = Image.fromarray(picture)
    if scaled != (width, height):
        image = image.resize(scaled, Image.Resampling.BILINEAR)
    left, top = round((scaled[0] - size[1]) / 2), round((scaled[1] - size[0]) / 2)
    return np.asarray(image.crop((left, top, left + size[1], top + size[0])))


def as_input(pictures: Pixels) -> Floats:
    """uint8 (n, height, width, 3), blue green red → float32 (n, 3, height, width), red green blue, 0…1."""
    return np.asarray(cv2.dnn.blobFromImages(list(pictures), 1 / 255, swapRB=True), np.float32)
