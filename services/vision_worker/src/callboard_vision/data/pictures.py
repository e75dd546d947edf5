"""Whether a picture of a data set can be read: judged by its header first, then decoded."""

from __future__ import annotations

import io

import cv2
import numpy as np

from callboard_shared.errors import RequestError
from callboard_shared.pictures import PictureSettings, judge
from callboard_vision.pictures import read_picture

MIN_SIDE = 10
"""Pixels; ultralytics leaves smaller ones out without a word."""
_SUFFIX_OF = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/bmp": ".bmp"}


class BadPicture(ValueError):
    """Says what is wrong with a picture."""


def checked_suffix(data: bytes, settings: PictureSettings) -> str:
    """What the name of a picture with these bytes must end in. Raises BadPicture."""
    try:
        head = judge(io.BytesIO(data), settings)
        if min(head.width, head.height) < MIN_SIDE:
            raise BadPicture(
                f"The picture has {head.width}×{head.height} pixels; each side needs at least {MIN_SIDE}."
            )
        read_picture(io.BytesIO(data), settings)
    except RequestError as error:
        raise BadPicture(error.detail) from None
    if not _opencv_reads(data):  # as the training does
        raise BadPicture("OpenCV cannot read the picture. Save it anew as PNG or JPEG.")
    return _SUFFIX_OF[head.media_type]


def _opencv_reads(data: bytes) -> bool:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_8) is not None
    except cv2.error:
        return False
