"""Writes an mp4 that browsers play: H.264, yuv420p, its index in front; each frame is encoded as it comes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.video.frame import VideoFrame

from callboard_shared.errors import RetryableError
from callboard_vision.engines.interface import Pixels

_TICKS = 90_000
"""A second: fine enough for the time of each frame."""
_BT709 = 1
_TV_RANGE = 1
_OPTIONS = {"preset": "veryfast", "crf": "23"}


class VideoWriter:
    """``rate``: frames a second, about; ``aspect``: width of a pixel by its height. Whole once the ``with`` block is
    left without an exception."""

    def __init__(
        self, path: Path, width: int, height: int, rate: float, threads: int, aspect: Fraction = Fraction(1)
    ) -> None:
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        about = Fraction(rate).limit_denominator(1001)
        self._stream: Any = self._container.add_stream(
            "libx264", rate=max(about, Fraction(1, 1000)), options=_OPTIONS
        )
        codec = self._stream.codec_context
        self._odd = height % 2, width % 2
        codec.width, codec.height, codec.pix_fmt = width + self._odd[1], height + self._odd[0], "yuv420p"
        codec.time_base, codec.thread_count = Fraction(1, _TICKS), threads
        codec.sample_aspect_ratio = aspect
        codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
        codec.color_range = _TV_RANGE
        self._last = -1

    def write(self, pixels: Pixels, time_s: float, lasts_s: float) -> None:
        """Frames come in order; one without a later time than the one before is put right behind it."""
        if any(self._odd):  # chroma has half the size: the last row and column are repeated
            pixels = np.pad(pixels, ((0, self._odd[0]), (0, self._odd[1]), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(pixels, format="bgr24").reformat(
            format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", threads=1
        )
        self._last = max(self._last + 1, round(time_s * _TICKS))
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        frame.duration = max(1, round(lasts_s * _TICKS))
        self._encode(frame)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._encode(None)
        finally:
            self._container.close()

    def _encode(self, frame: VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except av.FFmpegError as error:
            raise RetryableError(
                f"The annotated video could not be written: {error.strerror}.", code="encoding-failed"
            ) from error
