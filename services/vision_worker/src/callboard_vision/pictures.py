"""Pictures from bytes: decoded, turned as they are meant to be seen, in 8-bit colours.

What is decided here: transparency is laid on white; of 16 bits the upper 8 are kept; of an animation the first frame is
read; colour profiles are ignored, as in what detectors are trained on.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageOps

from callboard_shared.pictures import Content, Head, PictureSettings, damaged, judge
from callboard_vision.engines.interface import Pixels

ANIMATED = "The picture is an animation; only its first frame was looked at."
_WHITE = (255, 255, 255)
_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP", "image/bmp": "BMP"}
_UNREADABLE = (
    OSError,  # also Pillow's own UnidentifiedImageError
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises, of bytes that are not what they promise."""

Image.MAX_IMAGE_PIXELS = None  # judged before, by settings


@dataclass(frozen=True, slots=True)
class Picture:
    """``transparent``: whether it was, anywhere, before it was laid on white."""

    pixels: Pixels
    transparent: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])


def read_picture(content: Content, settings: PictureSettings) -> Picture:
    """The picture that a file holds. Raises what ``judge`` does, and UnsupportedMedia ``image-damaged``."""
    head = judge(content, settings)
    content.seek(0)
    data = content.read()
    if head.media_type == "image/jpeg" and head.channels in (1, 3):
        return Picture(_plain_jpeg(data))  # a fifth to a half faster than Pillow, with the same pixels
    try:
        with Image.open(io.BytesIO(data), formats=[_FORMATS[head.media_type]]) as image:
            _check_again(head, image)
            return _decoded(image)
    except _UNREADABLE as error:
        raise damaged(str(error) or type(error).__name__) from None


def _plain_jpeg(data: bytes) -> Pixels:
    """OpenCV turns it by its EXIF, and makes three channels of one."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise damaged(error.err) from None
    if pixels is None:
        raise damaged("it cannot be decoded")
    return pixels.astype(np.uint8, copy=False)


def _check_again(head: Head, image: Image.Image) -> None:
    """A file may say two things; what was judged must be what is decoded."""
    if image.size != (head.width, head.height):
        raise ValueError(f"it has {image.size} pixels, and {head.width, head.height} by its header")


def _decoded(image: Image.Image) -> Picture:
    warnings = (ANIMATED,) if getattr(image, "is_animated", False) else ()
    image.load()
    upright = _upright(image)
    if upright.mode.startswith("I"):
        grey = (np.asarray(upright).astype(np.uint32) >> 8).astype(np.uint8)
        return Picture(grey[..., None].repeat(3, axis=2), warnings=warnings)
    if not upright.has_transparency_data:
        return Picture(_bgr(upright.convert("RGB")), warnings=warnings)
    with_alpha = upright.convert("RGBA")
    alpha = with_alpha.getchannel("A")
    on_white = Image.new("RGB", with_alpha.size, _WHITE)
    on_white.paste(with_alpha, mask=alpha)
    lowest = alpha.getextrema()[0]
    return Picture(_bgr(on_white), isinstance(lowest, int | float) and lowest < 255, warnings)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _UNREADABLE:  # the EXIF is damaged, and the picture is not
        return image


def _bgr(image: Image.Image) -> Pixels:
    return cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)
