"""What tests of videos share: how they are made, and pictures whose content can be told after any encoding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from callboard_vision.engines.interface import Pixels

Encode = Callable[..., Path]
"""Of a name, pictures, frames a second, and ffmpeg's options."""
Ffmpeg = Callable[..., bytes]
"""Of arguments, and ``given``: its standard input."""

BITS = 6
BLOCK = 16


def numbered(number: int, width: int = 128, height: int = 96) -> Pixels:
    """A grey picture with its number in black and white blocks."""
    picture: Pixels = np.full((height, width, 3), 128, np.uint8)
    for bit in range(BITS):
        picture[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    return picture


def number_of(picture: Pixels) -> int:
    middles = [picture[BLOCK // 2, bit * BLOCK + BLOCK // 2].mean() > 128 for bit in range(BITS)]
    return sum(1 << bit for bit, white in enumerate(middles) if white)


def corners(width: int = 96, height: int = 64) -> Pixels:
    """Four colours, one a corner: how a picture is turned can be told."""
    picture: Pixels = np.zeros((height, width, 3), np.uint8)
    colours = [(0, 0, 220), (0, 220, 0), (220, 0, 0), (220, 220, 220)]
    for index, colour in enumerate(colours):
        rows = slice(0, height // 2) if index < 2 else slice(height // 2, height)
        columns = slice(0, width // 2) if index % 2 == 0 else slice(width // 2, width)
        picture[rows, columns] = colour
    return picture
