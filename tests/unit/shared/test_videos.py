"""Which container a video is, by its first bytes."""

from __future__ import annotations

import io

import pytest

from callboard_shared.errors import UnsupportedMedia
from callboard_shared.jobs import DETECT, TRACK
from callboard_shared.videos import container_of


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"\0\0\0\x20ftypisom\0\0\2\0", "mov"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0", "mov"),
        (b"\0\0\0\x08wide\0\0\0\x08mdat", "mov"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01", "matroska"),
    ],
)
def test_videos_are_known(head: bytes, container: str) -> None:
    content = io.BytesIO(head)
    assert container_of(content) == container
    assert content.tell() == 0


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "empty"),
        (b"\0\0\0", "application/octet-stream"),
        (b"A text.", "text/plain"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "image/png"),
    ],
)
def test_what_is_none_is_named(content: bytes, found: str) -> None:
    with pytest.raises(UnsupportedMedia, match=found):
        container_of(io.BytesIO(content))


def test_what_is_judged_is_declared() -> None:
    track = TRACK.input.model_validate({"video": {"file_id": "file_1"}})
    assert {place: one.kind for place, one in TRACK.judged_of(track).items()} == {"video": "video"}
    detect = DETECT.input.model_validate({"image": {"file_id": "file_1"}})
    assert {place: one.kind for place, one in DETECT.judged_of(detect).items()} == {"image": "picture"}
