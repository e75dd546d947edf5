"""Videos made by ffmpeg, which knows nothing of our reading and writing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import imageio_ffmpeg
import pytest

from callboard_vision.engines.interface import Pixels

sys.path.insert(0, str(Path(__file__).parent))

from some_videos import Encode, Ffmpeg

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


@pytest.fixture
def ffmpeg() -> Ffmpeg:
    """Runs ffmpeg; gives what it writes to its standard output."""

    def run(*arguments: str | Path, given: bytes | None = None) -> bytes:
        command = [FFMPEG, "-y", "-hide_banner", "-loglevel", "error", *map(str, arguments)]
        return subprocess.run(command, input=given, capture_output=True, check=True).stdout

    return run


@pytest.fixture
def encode(ffmpeg: Ffmpeg, tmp_path: Path) -> Encode:
    """Makes a video of pictures; ``options`` are ffmpeg's, for the output."""

    def run(name: str, pictures: Iterable[Pixels], rate: float = 10, options: Iterable[str] = ()) -> Path:
        frames = list(pictures)
        height, width = frames[0].shape[:2]
        codec = (
            ("-c:v", "libvpx-vp9", "-deadline", "realtime") if name.endswith("webm") else ("-c:v", "libx264")
        )
        ffmpeg(
            "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "-",
            *codec, "-pix_fmt", "yuv420p", "-threads", "1", *options, tmp_path / name,
            given=b"".join(frame.tobytes() for frame in frames),
        )  # fmt: skip
        return tmp_path / name

    return run
