"""Handler of vision.track."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from callboard_shared.jobs.vision import FOLLOWING, Followed, TrackInput
from callboard_shared.worker import Context, Job
from callboard_shared.worker.models import Models
from callboard_shared.worker.workshop import Workshop
from callboard_vision.describing import within
from callboard_vision.engines.interface import Detector, Findings, ModelFacts, Shape
from callboard_vision.engines.tracking import WEAK, Tracker
from callboard_vision.handlers.detect import options_of
from callboard_vision.tally import Tally
from callboard_vision.video.ahead import Ahead
from callboard_vision.video.drawing import Drawing
from callboard_vision.video.log import FrameLog
from callboard_vision.video.reading import Frame, Video, open_video
from callboard_vision.video.writing import VideoWriter

_READ = 0.98
"""Of the progress; the rest is to keep the files."""
_TOGETHER = 8
_PIXELS_TOGETHER = 24_000_000
"""Frames, and their pixels, that go at most through the network together; as many are read ahead meanwhile."""
_TOLD_FRACTION, _TOLD_S = 0.005, 2.0
_PIECE = 1024 * 1024

Shapes = Mapping[int, Shape]
"""By track: what a model of outlines, key points or turned boxes knows besides the box."""
Write = Callable[[Frame, Sequence[Followed], Shapes], None]


class TrackHandlers:
    """``cache``: where trackers may write; ``max_pixels``: of a frame; ``inline_bytes``: outputs larger than this
    become files; ``font``: for labels, a TrueType file."""

    def __init__(
        self,
        models: Models,
        workshop: Workshop,
        *,
        cache: Path,
        max_pixels: int,
        inline_bytes: int,
        font: Path | None = None,
    ) -> None:
        self._models, self._workshop, self._cache = models, workshop, cache
        self._max_pixels, self._inline_bytes, self._font = max_pixels, inline_bytes, font

    def track(self, job: Job[TrackInput]) -> dict[str, Any]:
        """Frames pass by: they are read in a thread, go through the network some together, and are followed, drawn and
        encoded one by one."""
        value, context, threads = job.input, job.context, self._workshop.threads
        with (
            self._workshop.folder(job) as scratch,
            context.open_file(value.video) as given,
            open_video(given.content, threads, self._max_pixels) as video,
            FrameLog(scratch / "frames.json") as frames,
        ):
            model = self._models.get([job], value.model, *FOLLOWING)
            follower, told = _Follower(value, model.engine, video, self._cache), _Telling(context, video)
            annotated = scratch / "annotated.mp4" if value.annotate else None
            with (
                Ahead(video.frames(value.every_n_frames), _read_ahead(video)) as ahead,
                _annotating(annotated, video, value, threads, self._font, model.engine.facts) as write,
            ):
                for part in ahead.parts(context.check_canceled):
                    for frame, followed, shapes in follower.follow(part):
                        context.check_canceled()
                        frames.add(_entry(frame, followed))
                        write(frame, followed, shapes)
                        told.at(frame)
            context.usage |= {"frames": video.read, "images": frames.count}
            context.progress(_READ, "keeping the files")
            output = _output(video, follower.tally, frames.count) | {"model": model.name}
            if annotated is not None:
                record = context.put_file("annotated.mp4", _pieces(annotated, context), "video/mp4")
                output["annotated"] = record.reference()
            room = self._inline_bytes - len(orjson.dumps(output)) - len(',"frames":')
            return {"frames": frames.result(context, room), **output}


class _Follower:
    """Finds things in frames and follows them."""

    def __init__(self, value: TrackInput, detector: Detector, video: Video, cache: Path) -> None:
        self._detector, self._least = detector, value.confidence
        rate = video.fps / value.every_n_frames
        self._tracker = Tracker(value.tracker, value.confidence, rate, cache=cache)
        self._options = replace(options_of(value, detector.facts), confidence=WEAK * value.confidence)
        self._together = 1
        self.tally = Tally(value.lines or ())

    def follow(self, frames: Sequence[Frame]) -> Iterator[tuple[Frame, list[Followed], Shapes]]:
        """So many go through the network together as take about a second: a cancel does not wait for more."""
        while frames:
            part, frames = frames[: self._together], frames[self._together :]
            began = time.monotonic()
            found = self._detector.detect([frame.pixels for frame in part], [self._options] * len(part))
            took_s = max(0.001, time.monotonic() - began)
            self._together = max(1, min(_TOGETHER, int(len(part) / took_s)))
            for frame, findings in zip(part, found, strict=True):
                followed, shapes = self._followed(findings, frame)
                self.tally.see(followed)
                yield frame, followed, shapes

    def _followed(self, found: Findings, frame: Frame) -> tuple[list[Followed], Shapes]:
        """What is sure enough to be told; what is weaker only keeps its track."""
        names, told, shapes = self._detector.facts.names, [], {}
        height, width = frame.pixels.shape[:2]
        boxes = np.round(within(found.boxes.reshape(-1, 2, 2).astype(np.float64), width, height), 2).reshape(
            -1, 4
        )
        for sighting in self._tracker.update(found, frame.pixels):
            confidence = float(found.confidences[sighting.index])
            if confidence >= self._least:
                class_id = int(found.class_ids[sighting.index])
                shapes[sighting.track_id] = found.shape(sighting.index)
                told.append(
                    Followed(
                        track_id=sighting.track_id, label=names[class_id], class_id=class_id,
                        confidence=round(confidence, 4), box=boxes[sighting.index].tolist(),
                    )
                )  # fmt: skip
        return sorted(told, key=lambda one: one.track_id), shapes


class _Telling:
    """Progress by frame, so often that a person sees it move."""

    def __init__(self, context: Context, video: Video) -> None:
        self._context, self._video = context, video
        self._fraction, self._at = -1.0, 0.0

    def at(self, frame: Frame) -> None:
        done, of, seconds = frame.number + 1, self._video.expected, self._video.seconds
        fraction = done / of if of else frame.time_s / seconds if seconds else 0.0
        now = time.monotonic()
        if fraction - self._fraction < _TOLD_FRACTION and now - self._at < _TOLD_S:
            return
        self._fraction, self._at = fraction, now
        message = f"frame {done:,}" + (f" of {of:,}" if of else "") + f", {frame.time_s:.1f} s"
        self._context.progress(_READ * min(1.0, fraction), message, step=done, steps=of)


@contextmanager
def _annotating(
    path: Path | None, video: Video, value: TrackInput, threads: int, font: Path | None, facts: ModelFacts
) -> Iterator[Write]:
    """Writes the frames that were looked at, each at its own time, so that the video plays as fast as the given one."""
    if path is None:
        yield lambda frame, followed, shapes: None
        return
    rate = video.fps / value.every_n_frames
    drawing = Drawing(video.width, video.height, rate, value.lines or (), font, facts.skeleton)
    with VideoWriter(path, video.width, video.height, rate, threads, video.aspect) as writer:

        def write(frame: Frame, followed: Sequence[Followed], shapes: Shapes) -> None:
            drawing.draw(frame.pixels, followed, shapes)
            writer.write(frame.pixels, frame.time_s, frame.lasts_s * value.every_n_frames)

        yield write


def _read_ahead(video: Video) -> int:
    return max(1, min(_TOGETHER, _PIXELS_TOGETHER // (video.width * video.height)))


def _entry(frame: Frame, followed: Sequence[Followed]) -> dict[str, Any]:
    tracks = [one.model_dump() for one in followed]
    return {"frame": frame.number, "time_s": round(frame.time_s, 6), "tracks": tracks}


def _output(video: Video, tally: Tally, looked_at: int) -> dict[str, Any]:
    output = {
        "counts": tally.counts,
        "lines": [line.model_dump() for line in tally.crossings],
        "summary": tally.summary(video.ended_s, looked_at),
        "frames_read": video.read,
        "frames_tracked": looked_at,
        "fps": round(video.fps, 3),
        "width": video.width,
        "height": video.height,
        "duration_s": round(video.ended_s, 3),
        "warnings": video.warnings,
    }
    return {name: value for name, value in output.items() if name not in ("lines", "warnings") or value}


def _pieces(path: Path, context: Context) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            context.check_canceled()
            yield piece
