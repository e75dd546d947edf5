"""Following things through a video."""

from __future__ import annotations

from math import dist
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from callboard_shared.jobs.base import (
    FileReference,
    Input,
    JobType,
    Limits,
    ModelReference,
    Output,
    VideoInput,
)
from callboard_shared.jobs.vision.example import PASSING_SIGN
from callboard_shared.jobs.vision.parts import DEFAULT_DETECTOR, FOLLOWING, Looking

Coordinate = Annotated[float, Field(ge=-100_000, le=100_000)]
Tracker = Literal["bytetrack", "botsort"]


class Line(Input):
    """A line across the picture; who goes over it is counted by direction."""

    name: str = Field(default="line", min_length=1, max_length=64)
    start: tuple[Coordinate, Coordinate] = Field(description="x, y in pixels.")
    end: tuple[Coordinate, Coordinate] = Field(description="x, y in pixels.")

    @model_validator(mode="after")
    def _has_two_ends(self) -> Self:
        if dist(self.start, self.end) < 1:
            raise ValueError("'start' and 'end' are to be at least a pixel apart")
        return self


class TrackInput(Looking):
    confidence: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="The least a thing must have in a frame to be told there; weaker ones only keep a track from being "
        "lost.",
    )
    video: VideoInput = Field(description="A video: mp4, webm or mov.")
    model: ModelReference = Field(default=DEFAULT_DETECTOR)
    every_n_frames: int = Field(default=1, ge=1, le=1000, description="Look at every n-th frame only.")
    tracker: Tracker = Field(default="bytetrack")
    lines: list[Line] | None = Field(
        default=None, min_length=1, max_length=16, description="To count crossings of."
    )
    annotate: bool = Field(
        default=False, description="Also make an mp4 (H.264) with what was found drawn in."
    )


class Followed(Output):
    track_id: int
    label: str
    class_id: int
    confidence: float
    box: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2 in pixels.")


class Frame(Output):
    frame: int = Field(description="Counted from 0 in the video, those left out included.")
    time_s: float
    tracks: list[Followed]


class Crossings(Output):
    name: str
    forth: int = Field(description="From the left to the right of one who looks from start to end.")
    back: int


class TrackOutput(Output):
    frames: list[Frame] | FileReference = Field(
        description="Each frame that was looked at; a JSON file if large."
    )
    counts: dict[str, int] = Field(description="Different tracks by label.")
    lines: list[Crossings] | None = None
    summary: str
    frames_read: int
    frames_tracked: int
    fps: float = Field(description="Of the video.")
    width: int
    height: int
    duration_s: float
    annotated: FileReference | None = None
    warnings: list[str] | None = None
    model: str


TRACK = JobType(
    name="vision.track",
    queue="vision",
    input=TrackInput,
    output=TrackOutput,
    summary="Follow things through a video, count them and their crossings of lines.",
    example={"video": {"base64": PASSING_SIGN}, "every_n_frames": 2},
    limits=Limits(timeout_s=3600),
    models={"model": FOLLOWING},
)
