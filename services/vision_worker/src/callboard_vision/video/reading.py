"""Reads a video frame by frame: turned as it is meant to be seen, each frame with its own time.

What is given is bytes: they are read through Python and nothing else, by a demuxer that their first bytes choose, so
that no playlist and no reference within a video makes FFmpeg open a file or an address.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO, NoReturn

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame

from callboard_shared.errors import FinalError, UnsupportedMedia
from callboard_shared.videos import container_of
from callboard_vision.engines.interface import Pixels

_MOST_THREADS = 4
"""Of the decoder: each holds a frame."""
_USUAL_RATE = 25.0
_FASTEST_RATE = 1000.0
_SLACK_S = 0.5
"""By so much a whole video may end before its header says."""


@dataclass(frozen=True, slots=True)
class Frame:
    """``number`` counts from 0 every frame of the video; ``time_s``: from its start; ``lasts_s``: until the next."""

    number: int
    time_s: float
    lasts_s: float
    pixels: Pixels


class Video:
    """``width``, ``height``: of the turned frames, in pixels; ``aspect``: width of a pixel by its height; ``fps``: on
    average; ``seconds``, ``expected``: how long it plays and how many frames it has, if its header says so."""

    def __init__(self, container: InputContainer, max_pixels: int, threads: int) -> None:
        self._container = container
        self._stream = _stream(container)
        self._codec = self._stream.codec_context
        _check_size(self._codec.width, self._codec.height, max_pixels)
        self._codec.thread_type, self._codec.thread_count = "AUTO", min(threads, _MOST_THREADS)
        # A header may lie: this holds for what the decoder finds as well. It counts whole blocks.
        self._codec.options = {"max_pixels": str(2 * max_pixels)}
        rate = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        self.fps = rate if 0 < rate <= _FASTEST_RATE else _USUAL_RATE
        self.expected = self._stream.frames or None
        self.seconds = None if container.duration is None else container.duration / av.time_base
        self.read, self.ended_s = 0, 0.0
        self._start_s = (container.start_time or 0) / av.time_base
        self._packets, self._reached_s = 0, 0.0
        self._left_out, self._spoilt, self._broken = 0, 0, ""
        self._decoded = self._decode()
        self._first: VideoFrame | None = next(self._decoded, None)
        if self._first is None:
            raise FinalError(
                f"Not one frame of the video could be read{self._broken}. Does it play elsewhere?",
                code="video-damaged",
            )
        self._turns = round(self._first.rotation / 90) % 4
        self._size = self._first.width, self._first.height
        self.width, self.height = self._size if self._turns % 2 == 0 else self._size[::-1]
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        self.aspect = aspect if self._turns % 2 == 0 else 1 / aspect

    def frames(self, every_n: int = 1) -> Iterator[Frame]:
        """Every n-th frame, from the first; to be called once. ``read`` and ``ended_s`` (when the last frame that was
        read ends) go on with each frame of the video."""
        first, self._first = self._first, None
        usual_s = 1 / self.fps
        for frame in _joined(first, self._decoded):
            lasts_s = (
                float(frame.duration * frame.time_base) if frame.duration and frame.time_base else usual_s
            )
            time_s = self.ended_s if frame.pts is None else max(0.0, frame.time - self._start_s)
            number, self.read = self.read, self.read + 1
            self.ended_s = time_s + lasts_s
            self._spoilt += frame.is_corrupt
            if number % every_n == 0:
                yield Frame(number, time_s, lasts_s, self._pixels(frame))

    def close(self) -> None:
        """To be called by the thread that reads, or after it has ended."""
        self._decoded.close()

    @property
    def warnings(self) -> list[str]:
        """What was wrong with the video, as far as it was read."""
        said = []
        if self._broken or self._ended_early():
            whole = f" of {self.expected:,}" if self.expected else ""
            seconds = f" of {self.seconds:.1f}" if self.seconds else ""
            said.append(
                f"The video is damaged or cut off: it ends after {self.read:,}{whole} frames, "
                f"{self.ended_s:.1f}{seconds} s{self._broken}."
            )
        if self._left_out or self._spoilt:
            said.append(
                f"Parts of the video are damaged: {self._spoilt:,} frames may look wrong, {self._left_out:,} parts "
                "were left out."
            )
        return said

    def _ended_early(self) -> bool:
        if self.seconds is None:
            return False
        if self.expected is not None:  # an index, against which edit lists and lone long frames say nothing
            return self._packets < self.expected and self._reached_s < self.seconds - 1.5 / self.fps
        return self._reached_s < self.seconds - _SLACK_S

    def _decode(self) -> Generator[VideoFrame]:
        try:
            for packet in self._container.demux():
                if packet.pts is not None and packet.time_base is not None:
                    end_s = float((packet.pts + (packet.duration or 0)) * packet.time_base) - self._start_s
                    self._reached_s = max(self._reached_s, end_s)
                if packet.stream.index != self._stream.index:
                    continue
                self._packets += packet.size > 0
                yield from self._of(packet)
        except av.FFmpegError as error:
            self._broken = f" ({error.strerror})"
            yield from self._of(None)

    def _of(self, packet: Any) -> list[VideoFrame]:
        try:
            frames: list[VideoFrame] = self._codec.decode(packet)
        except av.FFmpegError:
            self._left_out += 1
            return []
        return frames

    def _pixels(self, frame: VideoFrame) -> Pixels:
        width, height = self._size  # also where the video changes its size midway
        pixels: Any = frame.to_ndarray(format="bgr24", width=width, height=height, threads=1)
        return np.ascontiguousarray(np.rot90(pixels, self._turns)) if self._turns else pixels


@contextmanager
def open_video(content: BinaryIO, threads: int, max_pixels: int) -> Iterator[Video]:
    """``content`` can be sought in. Raises FinalError ``unsupported-media-type`` if its bytes are no mp4, mov or webm;
    ``video-damaged``, ``no-video``, ``unsupported-codec``; ``image-too-large``, judged by the header."""
    try:
        container_format = container_of(content)
        container = av.open(
            content, "r", format=container_format, options={"max_pixels": str(2 * max_pixels)},
            metadata_errors="replace", io_open=_refused,
        )  # fmt: skip
    except UnsupportedMedia as error:
        raise FinalError(error.detail, code=error.problem_code) from None
    except av.FFmpegError as error:
        raise FinalError(
            f"The video cannot be opened: {error.strerror}. It is damaged, or was cut off before its index was "
            "written.",
            code="video-damaged",
        ) from None
    with container:
        video = Video(container, max_pixels, threads)
        try:
            yield video
        finally:
            video.close()


def _refused(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise PermissionError("A video may not refer to other files.")


def _stream(container: InputContainer) -> Any:
    stream = container.streams.best("video")
    if stream is None:
        raise FinalError("The file has no pictures in it, only sound or text. Give a video.", code="no-video")
    if stream.codec_context is None:
        raise FinalError(
            "The video's codec is not known here. Convert it, for example to H.264: ffmpeg -i in -c:v libx264 out.mp4",
            code="unsupported-codec",
        )
    return stream


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise FinalError(
            f"The video's frames have {width:,} × {height:,} pixels; at most {max_pixels:,} pixels are taken. Scale it "
            "down.",
            code="image-too-large",
        )


def _joined(first: VideoFrame | None, rest: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    if first is not None:
        yield first
    yield from rest
