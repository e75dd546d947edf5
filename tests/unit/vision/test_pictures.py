"""Decoding: whatever the form, the same picture comes out, upright, in blue, green and red of 8 bits."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from callboard_shared.errors import Invalid, UnsupportedMedia
from callboard_shared.pictures import PictureSettings
from callboard_vision.pictures import ANIMATED, Picture, read_picture

LIMITS = PictureSettings(picture_max_pixels=1_000_000, picture_max_side=20_000, picture_max_bytes=2**20)
WIDTH, HEIGHT = 48, 32
RED, GREEN, BLUE, WHITE = (0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255)


def quarters() -> Image.Image:
    """Red and green above, blue and white below."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    image.paste((255, 0, 0), (0, 0, WIDTH // 2, HEIGHT // 2))
    image.paste((0, 255, 0), (WIDTH // 2, 0, WIDTH, HEIGHT // 2))
    image.paste((0, 0, 255), (0, HEIGHT // 2, WIDTH // 2, HEIGHT))
    return image


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def read(data: bytes) -> Picture:
    return read_picture(io.BytesIO(data), LIMITS)


def corners(picture: Picture) -> list[tuple[int, ...]]:
    """The colours of the quarters' centres."""
    y, x = picture.height // 4, picture.width // 4
    rows = ((y, x), (y, 3 * x), (3 * y, x), (3 * y, 3 * x))
    return [tuple(int(value) for value in picture.pixels[row, column]) for row, column in rows]


def about_equal(found: list[tuple[int, ...]], wanted: list[tuple[int, ...]]) -> bool:
    return bool(np.abs(np.array(found) - np.array(wanted)).max() <= 12)  # JPEG loses a little


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        ("JPEG", "RGB", {"quality": 95}),
        ("JPEG", "RGB", {"quality": 95, "progressive": True, "subsampling": 2}),
        ("JPEG", "CMYK", {"quality": 95}),
        ("PNG", "RGB", {}), ("PNG", "P", {}), ("PNG", "RGBA", {}),
        ("WEBP", "RGB", {"lossless": True}), ("WEBP", "RGB", {"quality": 95}), ("WEBP", "RGBA", {"lossless": True}),
        ("BMP", "RGB", {}), ("BMP", "P", {}),
    ],
)  # fmt: skip
def test_every_form_gives_the_same_colours(form: str, mode: str, options: dict[str, Any]) -> None:
    picture = read(saved(quarters().convert(mode), form, **options))
    assert picture.pixels.shape == (HEIGHT, WIDTH, 3)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.c_contiguous
    assert about_equal(corners(picture), [RED, GREEN, BLUE, WHITE])
    assert not picture.transparent
    assert picture.warnings == ()


TURNS = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}
"""How a camera that is held so stores what is upright; reading must undo it (EXIF 2.32, 4.6.5, Orientation)."""


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(
    ("form", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("WEBP", "RGB")]
)
def test_all_eight_orientations_come_out_upright(orientation: int, form: str, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = quarters().convert(mode)
    stored = TURNS[orientation](upright)
    picture = read(saved(stored, form, exif=exif, quality=95))
    plain = read(saved(upright, form, quality=95))
    assert (picture.width, picture.height) == (WIDTH, HEIGHT)
    assert about_equal(corners(picture), corners(plain))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_damaged_exif_harms_no_picture() -> None:
    for form in ("JPEG", "PNG", "WEBP"):
        broken = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01" + bytes(6)
        assert about_equal(corners(read(saved(quarters(), form, exif=broken))), [RED, GREEN, BLUE, WHITE])


def test_of_sixteen_bits_the_upper_eight_are_kept() -> None:
    grey = np.linspace(0, 65_535, WIDTH, dtype=np.uint16)[None].repeat(HEIGHT, 0)
    colours = np.stack([grey, grey // 2, grey // 4], axis=2)
    for wide in (grey, colours):
        data = cv2.imencode(".png", wide)[1].tobytes()
        wanted = (wide >> 8).astype(np.uint8)
        wanted = wanted[..., None].repeat(3, 2) if wide.ndim == 2 else wanted
        assert np.abs(read(data).pixels.astype(int) - wanted.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("form", "mode"), [("JPEG", "L"), ("PNG", "L"), ("BMP", "L"), ("PNG", "1"), ("BMP", "1")]
)
def test_grey_and_black_and_white_get_three_channels(form: str, mode: str) -> None:
    image = Image.new("L", (WIDTH, HEIGHT), 255).convert(mode)
    assert corners(read(saved(image, form))) == [WHITE] * 4


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_lies_on_white(mode: str) -> None:
    image = quarters().convert(mode)
    alpha = Image.new("L", image.size, 0)
    alpha.paste(255, (0, 0, WIDTH // 2, HEIGHT))
    alpha.paste(128, (WIDTH // 2, HEIGHT // 2, WIDTH, HEIGHT))
    image.putalpha(alpha)
    picture = read(saved(image, "PNG"))
    assert picture.transparent
    above_right, below_right = corners(picture)[1], corners(picture)[3]
    assert above_right == WHITE
    assert below_right == WHITE
    if mode == "RGBA":
        assert corners(picture)[0] == RED


def test_a_palette_with_a_transparent_colour_lies_on_white_too() -> None:
    image = quarters().convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    picture = read(saved(image, "PNG", transparency=image.getpixel((0, 0))))
    assert picture.transparent
    assert corners(picture) == [WHITE, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_an_animation_gives_its_first_frame_and_says_so(form: str) -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue")]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:], duration=100, lossless=True)
    picture = read(data)
    assert picture.warnings == (ANIMATED,)
    assert corners(picture) == [RED] * 4


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (1, 700)])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP"])
def test_pictures_of_odd_sizes_are_pictures(size: tuple[int, int], form: str) -> None:
    picture = read(saved(Image.new("RGB", size, "blue"), form))
    assert (picture.width, picture.height) == size


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_picture_is_refused(form: str) -> None:
    data = saved(Image.effect_noise((200, 200), 80), form)
    for part in (0.3, 0.9, 0.99):
        with pytest.raises(UnsupportedMedia) as caught:
            read(data[: int(len(data) * part)])
        assert caught.value.problem_code == "image-damaged"


def test_limits_are_judged_before_decoding() -> None:
    with pytest.raises(Invalid) as caught:
        read(saved(Image.new("L", (1001, 1000)), "PNG"))
    assert caught.value.problem_code == "image-too-large"


def test_a_file_that_says_two_sizes_is_refused() -> None:
    """The canvas of an extended WebP is what was judged; its frame must not be larger."""
    data = bytearray(saved(Image.new("RGBA", (64, 64), (0, 0, 0, 5)), "WEBP", exif=Image.Exif().tobytes()))
    place = data.index(b"VP8X") + 8
    data[place + 4 : place + 10] = bytes((9, 0, 0, 9, 0, 0))
    with pytest.raises(UnsupportedMedia):
        read(bytes(data))


@given(
    st.sampled_from(["JPEG", "PNG", "WEBP", "BMP"]),
    st.sampled_from(["RGB", "RGBA", "P", "L", "CMYK"]),
    st.data(),
)
@settings(max_examples=300, deadline=None)
def test_damaged_pictures_are_read_or_refused_and_nothing_else(
    form: str, mode: str, data: st.DataObject
) -> None:
    if (form != "PNG" and mode in ("RGBA", "P")) or (form != "JPEG" and mode == "CMYK"):
        mode = "RGB"
    content = bytearray(saved(quarters().convert(mode), form))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = read(bytes(content))
    except (UnsupportedMedia, Invalid):
        return
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape[2] == 3
