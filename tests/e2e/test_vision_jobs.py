"""Detection over HTTP on the embedded default, with the real default model; and pictures that are none."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import httpx
import pytest
from over_http import content, ended, error, run, submit, upload
from PIL import Image

from callboard_shared.jobs.vision import DEFAULT_DETECTOR, DETECT, DetectOutput

pytestmark = pytest.mark.models

SIGN: dict[str, Any] = dict(DETECT.example["image"])
SIGN_BYTES = base64.b64decode(SIGN["base64"])


def inline(data: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(data).decode()}


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def sign() -> Image.Image:
    return Image.open(io.BytesIO(SIGN_BYTES))


def bomb(width: int, height: int) -> bytes:
    """A black PNG of one bit a pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_the_sign_of_the_example_is_found_where_it_is_and_drawn_in(http: httpx.Client) -> None:
    job = ended(http, submit(http, "vision.detect", {"image": SIGN, "annotate": True}))
    assert job["status"] == "succeeded", job["error"]
    output = job["output"]
    DetectOutput.model_validate(output)
    assert output["model"] == DEFAULT_DETECTOR and output["task"] == "detect"
    assert output["counts"] == {"stop sign": 1}
    (found,) = output["detections"]
    x1, y1, x2, y2 = found["box"]
    assert abs((x1 + x2) / 2 - 230) < 15 and abs((y1 + y2) / 2 - 120) < 25
    assert 120 < x2 - x1 < 200
    assert output["summary"] == "1 stop sign in a picture of 416×312 pixels: the stop sign in the centre."
    assert job["usage"]["images"] == 1
    drawn = Image.open(io.BytesIO(content(http, output["annotated"])))
    assert drawn.format == "JPEG"
    assert drawn.size == (832, 624), "small pictures are enlarged, so that labels can be read"


def test_an_upload_and_the_same_bytes_inline_give_the_same(http: httpx.Client) -> None:
    file = upload(http, "sign.jpg", SIGN_BYTES)
    outputs = [run(http, "vision.detect", {"image": image}) for image in (SIGN, file)]
    assert outputs[0] == outputs[1]


def test_the_same_sign_is_found_in_every_form_of_the_picture(http: httpx.Client) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(sign().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    forms = [
        turned,
        saved(sign(), "PNG"),
        saved(sign().convert("CMYK"), "JPEG", quality=95),
        saved(sign().convert("RGBA"), "WEBP", lossless=True),
        saved(sign(), "BMP"),
    ]
    output = run(http, "vision.detect", {"images": [inline(form) for form in forms], "confidence": 0.2})
    for seen in output["images"]:
        assert seen["counts"] == {"stop sign": 1}
        assert (seen["width"], seen["height"]) == (416, 312)
        assert (
            max(abs(a - b) for a, b in zip(seen["detections"][0]["box"], (150, 42, 310, 200), strict=True))
            < 25
        )


def test_a_picture_with_nothing_in_it_is_no_error(http: httpx.Client) -> None:
    pictures = [saved(Image.new("RGB", size, "grey"), "PNG") for size in ((1, 1), (20_000, 10), (640, 480))]
    output = run(http, "vision.detect", {"images": [inline(one) for one in pictures], "annotate": True})
    assert [(seen["width"], seen["height"]) for seen in output["images"]] == [
        (1, 1),
        (20_000, 10),
        (640, 480),
    ]
    assert all(seen["detections"] == [] and seen["counts"] == {} for seen in output["images"])
    assert "Nothing was found" in output["images"][0]["summary"]


def test_classes_choose_and_an_unknown_one_is_named(http: httpx.Client) -> None:
    assert run(http, "vision.detect", {"image": SIGN, "classes": ["Stop Sign"]})["counts"] == {"stop sign": 1}
    assert run(http, "vision.detect", {"image": SIGN, "classes": ["person", 5]})["counts"] == {}
    failed = error(http, "vision.detect", {"image": SIGN, "classes": ["stop sing"]})
    assert failed["code"] == "unknown-class"
    assert "Did you mean stop sign?" in failed["detail"]


CUT = SIGN_BYTES[: len(SIGN_BYTES) // 2]


@pytest.mark.parametrize("way", ["inline", "uploaded"])
@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported-media-type"),
        (b"hello, this is a text", 415, "unsupported-media-type"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", 415, "unsupported-media-type"),
        (b"SIMPLE  =                    T" + b" " * 50, 415, "unsupported-media-type"),
        (saved(Image.new("P", (8, 8)), "GIF"), 415, "unsupported-media-type"),
        (CUT, 415, "image-damaged"),
        (b"", 415, "unsupported-media-type"),
        (bomb(14_000, 14_000), 422, "image-too-large"),
    ],
    ids=["svg", "text", "pdf", "fits", "gif", "truncated", "empty", "bomb"],
)
def test_what_is_no_picture_is_refused_at_once_by_its_bytes(
    http: httpx.Client, way: str, data: bytes, status: int, code: str
) -> None:
    image = inline(data) if way == "inline" else upload(http, "picture.jpg", data)
    answer = http.post("/v1/jobs", json={"type": "vision.detect", "input": {"images": [SIGN, image]}})
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert problem["code"] == code
    assert problem["errors"][0]["field"] == f"input.images.1.{'base64' if way == 'inline' else 'file_id'}"


@pytest.mark.parametrize(
    "options",
    ['"confidence": NaN', '"confidence": 2', '"image_size": 100', '"classes": []', '"colour": "red"'],
)
def test_parameters_that_make_no_sense_are_refused(http: httpx.Client, options: str) -> None:
    body = f'{{"type": "vision.detect", "input": {{"image": {{"file_id": "file_1"}}, {options}}}}}'
    answer = http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)


def test_one_bad_picture_of_many_jobs_fails_its_own_alone(http: httpx.Client) -> None:
    """Within its header it is one; only decoding shows that it is damaged."""
    png = bytearray(saved(sign(), "PNG"))
    middle = len(png) // 2
    png[middle : middle + 200] = bytes(200)
    ids = [submit(http, "vision.detect", {"image": image}) for image in (SIGN, inline(bytes(png)), SIGN)]
    first, bad, last = [ended(http, one) for one in ids]
    assert first["output"]["counts"] == last["output"]["counts"] == {"stop sign": 1}
    assert bad["status"] == "failed"
    assert bad["error"]["code"] == "image-damaged"
    assert bad["attempt"] == 1
