"""Whether a content is what the field that it is given for takes, by its bytes: said before a job is submitted."""

from __future__ import annotations

from typing import Literal

from callboard_shared import pictures, videos
from callboard_shared.pictures import Content, PictureSettings


def judge(kind: Literal["picture", "video"], content: Content, settings: PictureSettings) -> None:
    """Raises a RequestError that says what is wrong with it."""
    if kind == "picture":
        pictures.judge(content, settings)
    else:
        videos.container_of(content)
