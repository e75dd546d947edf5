"""Heads of pictures, read without decoding: formats, sides, truncated and hostile files."""

from __future__ import annotations

import base64
import io
import struct
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from callboard_shared.errors import Invalid, RequestError, TooLarge, UnsupportedMedia
from callboard_shared.jobs import DETECT
from callboard_shared.pictures import Base64Content, PictureSettings, about, judge, read_head

LIMITS = PictureSettings(picture_max_pixels=50_000_000, picture_max_side=20_000, picture_max_bytes=2**20)
FORMS = [
    ("JPEG", "L", {}), ("JPEG", "RGB", {}), ("JPEG", "CMYK", {}), ("JPEG", "RGB", {"progressive": True}),
    ("PNG", "RGB", {}), ("PNG", "1", {}), ("PNG", "P", {}), ("PNG", "LA", {}), ("PNG", "I;16", {}),
    ("WEBP", "RGB", {}), ("WEBP", "RGBA", {}), ("WEBP", "RGB", {"lossless": True}),
    ("BMP", "RGB", {}), ("BMP", "P", {}), ("BMP", "1", {}),
]  # fmt: skip


def picture(form: str, mode: str, size: tuple[int, int] = (37, 23), **options: object) -> bytes:
    out = io.BytesIO()
    image = Image.radial_gradient("L").resize(size).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.frombytes("I;16", size, bytes(2 * size[0] * size[1]))
    image.save(out, form, **options)
    return out.getvalue()


def png_of(width: int, height: int) -> bytes:
    """All black, one bit a pixel: small, whatever its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("form", "mode", "options"), FORMS)
@pytest.mark.parametrize("size", [(37, 23), (1, 1), (700, 3)])
def test_the_head_of_every_form_tells_kind_and_sides(
    form: str, mode: str, options: dict[str, object], size: tuple[int, int]
) -> None:
    head = read_head(io.BytesIO(picture(form, mode, size, **options)))
    assert (head.media_type, head.width, head.height) == (f"image/{form.lower()}", *size)
    assert head.channels == ({"L": 1, "RGB": 3, "CMYK": 4}[mode] if form == "JPEG" else 0)


@pytest.mark.parametrize(("form", "mode", "options"), FORMS)
def test_a_file_that_is_cut_off_anywhere_is_refused(form: str, mode: str, options: dict[str, object]) -> None:
    data = picture(form, mode, (64, 48), **options)
    for end in range(len(data)):
        cut = data[:end]
        if form == "BMP" and len(data) - end < 4:
            continue  # the last row's padding says nothing
        if form == "WEBP" and end == len(data) - 1 and data.endswith(b"\0"):
            continue  # nor does the padding of its last chunk
        with pytest.raises(UnsupportedMedia):
            read_head(io.BytesIO(cut))


@pytest.mark.parametrize(
    ("content", "called"),
    [
        (b"", "empty"),
        (b"hello", "text/plain"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"%PDF-1.7\n\x93\x8c", "application/pdf"),
        (b"SIMPLE  =                    T" + bytes(60), "image/fits"),
        (picture("GIF", "P"), "image/gif"),
        (picture("TIFF", "RGB"), "image/tiff"),
        (b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), "audio/wav"),
    ],
)
def test_other_contents_are_refused_by_their_bytes_and_named(content: bytes, called: str) -> None:
    with pytest.raises(UnsupportedMedia, match="JPEG, PNG, WebP or BMP") as caught:
        judge(io.BytesIO(content), LIMITS)
    assert called in caught.value.detail
    assert caught.value.problem()["status"] == 415
    assert caught.value.problem_code == "unsupported-media-type"


def test_a_small_file_of_a_huge_picture_is_refused_by_its_header() -> None:
    bomb = png_of(14_000, 14_000)
    assert len(bomb) < 600_000
    with pytest.raises(Invalid, match="14,000×14,000") as caught:
        judge(io.BytesIO(bomb), LIMITS)
    assert caught.value.problem_code == "image-too-large"


def test_sides_count_besides_the_pixels() -> None:
    assert judge(io.BytesIO(png_of(20_000, 10)), LIMITS).width == 20_000
    with pytest.raises(Invalid):
        judge(io.BytesIO(png_of(20_001, 10)), LIMITS)


def test_a_file_over_the_limit_is_refused_unread() -> None:
    class Unreadable(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise AssertionError("was read")

    with pytest.raises(TooLarge):
        judge(Unreadable(bytes(2**20 + 1)), LIMITS)


def test_what_cameras_append_to_a_picture_does_not_matter() -> None:
    for form in ("JPEG", "PNG", "WEBP"):
        assert read_head(io.BytesIO(picture(form, "RGB") + bytes(300_000))).width == 37


def test_a_jpeg_that_says_its_size_late_is_read_all_the_same() -> None:
    plain = picture("JPEG", "RGB")
    segments = b"".join(b"\xff\xe2\xff\xff" + bytes(65_533) for _ in range(4))
    assert read_head(io.BytesIO(plain[:2] + segments + b"\xff\xff\xff" + plain[3:])).height == 23


def test_a_jpeg_made_of_nothing_but_segments_is_given_up() -> None:
    for filling in (b"", b"\xff" * 60):
        hostile = b"\xff\xd8" + (filling + b"\xff\xe0\0\x02") * 100_000 + b"\xff\xd9"
        text = Base64Content(base64.b64encode(hostile).decode())
        began = time.process_time()
        with pytest.raises(UnsupportedMedia, match="too many segments"):
            read_head(text)
        assert time.process_time() - began < 0.5
    with pytest.raises(UnsupportedMedia, match="filled up"):
        read_head(io.BytesIO(b"\xff\xd8" + b"\xff" * 1_000_000))


@given(st.sampled_from(FORMS), st.data())
@settings(max_examples=400, deadline=None)
def test_damaged_files_end_in_an_answer_and_never_in_a_crash(
    form: tuple[str, str, dict[str, object]], data: st.DataObject
) -> None:
    content = bytearray(picture(form[0], form[1], **form[2]))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, min(60, len(content) - 1)))] = data.draw(st.integers(0, 255))
    try:
        head = judge(io.BytesIO(bytes(content)), LIMITS)
    except (UnsupportedMedia, Invalid):
        return
    assert head.width * head.height <= LIMITS.picture_max_pixels


@given(st.binary(max_size=400), st.data())
def test_base64_is_read_anywhere_as_if_it_were_decoded(content: bytes, data: st.DataObject) -> None:
    lazy, whole = Base64Content(base64.b64encode(content).decode()), io.BytesIO(content)
    for _ in range(5):
        offset = data.draw(st.integers(0, len(content) + 3))
        whence = data.draw(st.sampled_from([0, 2])) if offset == 0 else 0
        assert lazy.seek(offset, whence) == whole.seek(offset, whence)
        size = data.draw(st.integers(-1, 50))
        assert lazy.read(size) == whole.read(size)
        assert lazy.read(size) == whole.read(size)


@pytest.mark.parametrize("text", ["data:image/png;base64,iVBORw0KGgo=", "????", "é" * 8, "/9j"])
def test_what_is_no_base64_is_said_to_be_none(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        judge(Base64Content(text), LIMITS)
    assert caught.value.problem_code in ("invalid-base64", "unsupported-media-type", "image-damaged")


def test_an_error_can_be_told_of_a_field() -> None:
    error = about(UnsupportedMedia("It is text."), "input.image")
    assert isinstance(error, UnsupportedMedia)
    assert error.errors == [
        {"field": "input.image", "message": "It is text.", "code": "unsupported-media-type"}
    ]


def test_a_job_type_knows_which_of_its_files_are_pictures() -> None:
    one = DETECT.input.model_validate({"image": {"file_id": "file_1"}})
    assert {place: picture.file_id for place, picture in DETECT.judged_of(one).items()} == {"image": "file_1"}
    many = DETECT.input.model_validate({"images": [{"base64": "aaaa"}, {"file_id": "file_2"}]})
    assert list(DETECT.judged_of(many)) == ["images.0", "images.1"]
    assert DETECT.files_of(many) == {"images.1.file_id": "file_2"}
