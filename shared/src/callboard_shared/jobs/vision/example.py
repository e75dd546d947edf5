"""The inputs of the examples: small files beside this one, drawn by ``python -m callboard_vision.drawn``."""

from __future__ import annotations

from base64 import b64encode
from importlib.resources import files


def _as_base64(name: str) -> str:
    return b64encode((files(__package__) / "examples" / name).read_bytes()).decode("ascii")


STOP_SIGN = _as_base64("stop_sign.jpg")
PASSING_SIGN = _as_base64("passing_sign.mp4")
SHAPES = _as_base64("shapes.zip")
