"""vision.track with a detector that sees bright things on black: real videos, real trackers."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from some_videos import Encode, Ffmpeg

from callboard_shared.errors import FinalError
from callboard_shared.files import Files, FileSettings, configured_store
from callboard_shared.jobs.vision import TrackInput, TrackOutput
from callboard_shared.ledger import Call
from callboard_shared.worker import Context, Job, JobCanceled
from callboard_shared.worker.models import OpenModel
from callboard_shared.worker.workshop import Workshop
from callboard_vision.engines.interface import Findings, ModelFacts, Options, Pixels, VisionTask
from callboard_vision.handlers.track import TrackHandlers
from callboard_vision.video.reading import open_video

SIDE = 24


class Bright:
    """Finds each bright patch; a white one is a "lamp", a red one a "light". Its greyness is its confidence."""

    engine = "bright"
    facts = ModelFacts("detect", {0: "lamp", 7: "light"})

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self.asked: list[Options] = []
        self.together: list[int] = []
        self._before = before
        self.takes_s: Callable[[int], None] = lambda frames: None

    def detect(self, pictures: Sequence[Pixels], options: Sequence[Options]) -> list[Findings]:
        self._before()
        self.asked += options
        self.together.append(len(pictures))
        self.takes_s(len(pictures))
        return [self._one(picture, how) for picture, how in zip(pictures, options, strict=True)]

    def _one(self, picture: Pixels, options: Options) -> Findings:
        count, marks, stats, _ = cv2.connectedComponentsWithStats((picture[:, :, 2] > 30).astype(np.uint8))
        found = []
        for place in range(1, count):
            x, y, width, height, _ = stats[place]
            blue, _, red = picture[marks == place].mean(axis=0)
            kind = 0 if blue > red / 2 else 7
            wanted = options.classes is None or kind in options.classes
            if width > 4 and height > 4 and red / 255 >= options.confidence and wanted:
                found.append(((x, y, x + width, y + height), red / 255, kind))
        found.sort(key=lambda one: -one[1])
        return Findings(
            np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
            np.array([sure for _, sure, _ in found], np.float32),
            np.array([kind for _, _, kind in found], np.int64),
        )


class Opened:
    def __init__(self, detector: Bright) -> None:
        self._detector = detector

    def get(self, jobs: Sequence[Job[Any]], name: str, *tasks: str) -> OpenModel:
        return OpenModel(name, "detect", self._detector)


class Place:
    """A worker's surroundings: scratch folder, object store, and what was told of the job."""

    def __init__(self, folder: Path) -> None:
        self.scratch, self.told = folder / "scratch", []
        self.files = Files(configured_store(FileSettings(files_dir=folder / "files")))
        self.context = Context("job_1", "vision", "key_a", 1, runner="v#1", send=self._send, files=self.files)

    def _send(self, call: Call[str]) -> bool:
        pieces = call.command[8:]
        self.told += [json.loads(data) for kind, data in zip(pieces[::2], pieces[1::2], strict=True)]
        return True

    def content(self, reference: dict[str, Any]) -> bytes:
        with self.files.store.open(reference["file_id"]) as file:
            return file.read()

    def run(self, video: Path | bytes, detector: Bright | None = None, **value: Any) -> dict[str, Any]:
        inline = value.pop("inline_bytes", 256 * 1024)
        content = video if isinstance(video, bytes) else video.read_bytes()
        given = TrackInput.model_validate(
            {"video": {"base64": base64.b64encode(content).decode()}, **value}, strict=False
        )
        handlers = TrackHandlers(
            Opened(detector or Bright()),  # type: ignore[arg-type]
            Workshop(lambda: pytest.fail("nothing is stored"), 2, self.scratch),
            cache=self.scratch.parent,
            max_pixels=1_000_000,
            inline_bytes=inline,
        )
        output = handlers.track(Job("job_1", "vision.track", "key_a", 1, given, self.context))
        TrackOutput.model_validate(output)
        assert self.context.flush()
        return output


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def scene(*things: tuple[float, float, tuple[int, int, int]], size: tuple[int, int] = (320, 240)) -> Pixels:
    picture: Pixels = np.zeros((size[1], size[0], 3), np.uint8)
    for x, y, colour in things:
        cv2.rectangle(picture, (round(x), round(y)), (round(x) + SIDE - 1, round(y) + SIDE - 1), colour, -1)
    return picture


WHITE, RED, DIM, GREY = (240, 240, 240), (10, 10, 240), (90, 90, 90), (150, 150, 150)


def passing(frames: int = 30) -> list[Pixels]:
    """A lamp goes right and a light goes left, one above the other."""
    return [scene((20 + 4 * n, 40, WHITE), (200 - 4 * n, 150, RED)) for n in range(frames)]


def test_two_things_that_pass_are_followed_counted_and_told(encode: Encode, place: Place) -> None:
    output = place.run(encode("a.mp4", passing(), 10))
    frames = output["frames"]
    assert [frame["frame"] for frame in frames] == list(range(30))
    assert [frame["time_s"] for frame in frames] == pytest.approx([n / 10 for n in range(30)], abs=0.001)
    for n, frame in enumerate(frames):
        lamp, light = sorted(frame["tracks"], key=lambda one: one["label"])
        assert (lamp["label"], lamp["class_id"], light["label"]) == ("lamp", 0, "light")
        assert lamp["box"] == pytest.approx([20 + 4 * n, 40, 44 + 4 * n, 64], abs=2)
        assert light["box"] == pytest.approx([200 - 4 * n, 150, 224 - 4 * n, 174], abs=3)
        assert {lamp["track_id"], light["track_id"]} == {1, 2}
        assert lamp["track_id"] == sorted(frames[0]["tracks"], key=lambda one: one["label"])[0]["track_id"]
    assert output["counts"] == {"lamp": 1, "light": 1}
    assert output["summary"].startswith(
        "1 lamp and 1 light were followed through 3.0 s of video, in 30 frames"
    )
    assert (output["frames_read"], output["frames_tracked"], output["fps"]) == (30, 30, 10)
    assert (output["width"], output["height"], output["duration_s"]) == (320, 240, 3)
    assert not {"annotated", "warnings", "lines"} & set(output)
    assert place.context.usage == {"frames": 30, "images": 30}
    assert place.context.created == []


def test_every_nth_frame_alone_is_looked_at(encode: Encode, place: Place) -> None:
    detector = Bright()
    output = place.run(encode("a.webm", passing(), 10), detector, every_n_frames=2)
    assert [frame["frame"] for frame in output["frames"]] == list(range(0, 30, 2))
    assert {one["track_id"] for frame in output["frames"] for one in frame["tracks"]} == {1, 2}
    assert sum(detector.together) == 15
    assert (output["frames_read"], output["frames_tracked"]) == (30, 15)
    assert place.context.usage == {"frames": 30, "images": 15}


def test_the_detector_is_asked_as_the_job_says(encode: Encode, place: Place) -> None:
    detector = Bright()
    output = place.run(
        encode("a.mp4", passing(), 10), detector,
        confidence=0.5, iou=0.4, classes=["light"], max_detections=7, image_size=320, half=True,
    )  # fmt: skip
    assert set(detector.asked) == {Options(0.2, 0.4, (7,), 7, 320, True)}
    assert output["counts"] == {"light": 1}
    assert set(detector.together) <= set(range(1, 9))


def test_a_slow_detector_is_asked_for_few_frames_at_a_time(
    encode: Encode, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    detector = Bright()
    detector.takes_s = lambda frames: clock.__setitem__(0, clock[0] + 0.4 * frames)
    output = place.run(encode("a.mp4", passing(), 10), detector)
    assert len(output["frames"]) == sum(detector.together) == 30
    assert max(detector.together) <= 2


def test_what_is_too_weak_is_not_told_but_keeps_its_number(encode: Encode, place: Place) -> None:
    colours = [WHITE if not 10 <= n < 14 else DIM for n in range(30)]
    frames = [scene((20 + 4 * n, 40, colour)) for n, colour in enumerate(colours)]
    output = place.run(encode("a.mp4", frames, 10), confidence=0.6)
    told = {frame["frame"]: [one["track_id"] for one in frame["tracks"]] for frame in output["frames"]}
    assert told == {n: [] if 10 <= n < 14 else [1] for n in range(30)}
    assert all(one["confidence"] >= 0.6 for frame in output["frames"] for one in frame["tracks"])


def test_crossings_are_counted_by_direction(encode: Encode, place: Place) -> None:
    lines = [
        {"name": "middle", "start": [122, 0], "end": [122, 240]},
        {"start": [122, 100], "end": [122, 240]},
    ]
    output = place.run(encode("a.mp4", passing(), 10), lines=lines)
    # Who looks down the picture has its left edge on the right hand: the light, which goes there, goes forth.
    assert output["lines"] == [
        {"name": "middle", "forth": 1, "back": 1},
        {"name": "line", "forth": 1, "back": 0},
    ]
    assert "'middle' was crossed once forth and once back" in output["summary"]


def test_the_annotated_video_shows_the_frames_looked_at_at_their_times(encode: Encode, place: Place) -> None:
    output = place.run(encode("a.mp4", passing(), 10), annotate=True, every_n_frames=3)
    reference = output["annotated"]
    assert reference["media_type"] == "video/mp4"
    content = place.content(reference)
    assert len(content) == reference["bytes"]
    (place.scratch / "seen.mp4").write_bytes(content)
    with (place.scratch / "seen.mp4").open("rb") as file, open_video(file, 1, 10_000_000) as video:
        frames = list(video.frames())
        assert (video.width, video.height) == (320, 240)
        assert video.ended_s == pytest.approx(3, abs=0.01)
    assert [frame.time_s for frame in frames] == pytest.approx([n * 0.3 for n in range(10)], abs=0.001)
    # The box's edge is drawn where all was black.
    bright = [frame.pixels[64:68, 20 + 12 * n : 44 + 12 * n].max() for n, frame in enumerate(frames)]
    assert min(bright) > 100
    assert [record.name for record in place.context.created] == ["annotated.mp4"]


def last_frame(place: Place, output: dict[str, Any]) -> Pixels:
    annotated = place.scratch / "drawn.mp4"
    annotated.write_bytes(place.content(output["annotated"]))
    with annotated.open("rb") as file, open_video(file, 1, 10_000_000) as video:
        return list(video.frames())[-1].pixels


class Outlining(Bright):
    """Knows of each thing its upper left half, its two ends, and that it stands on its corner."""

    def __init__(self, task: VisionTask) -> None:
        super().__init__()
        self.facts = ModelFacts(task, {0: "lamp", 7: "light"}, skeleton=[(0, 1)] if task == "pose" else ())

    def _one(self, picture: Pixels, options: Options) -> Findings:
        found = super()._one(picture, options)
        if self.facts.task == "obb":
            turned = [[[(a + c) / 2, b - 12], [c + 12, (b + d) / 2], [(a + c) / 2, d + 12], [a - 12, (b + d) / 2]]
                      for a, b, c, d in found.boxes.tolist()]  # fmt: skip
            return replace(found, corners=np.array(turned, np.float32).reshape(-1, 4, 2))
        if self.facts.task == "segment":
            halves = [np.array([[a, b], [c, b], [a, d]], np.float32) for a, b, c, d in found.boxes.tolist()]
            return replace(found, outlines=[[half] for half in halves])
        ends = [[[a, b, 0.9], [c, d, 0.9]] for a, b, c, d in found.boxes.tolist()]
        return replace(found, keypoints=np.array(ends, np.float32).reshape(-1, 2, 3))


@pytest.mark.parametrize("task", ["segment", "pose", "obb"])
def test_what_is_more_than_a_box_is_drawn_into_the_video(
    encode: Encode, place: Place, task: VisionTask
) -> None:
    video = encode("a.mp4", [scene((100 + n, 100, WHITE)) for n in range(6)], 10)
    boxes, shapes = (
        last_frame(place, place.run(video, detector, annotate=True))
        for detector in (Bright(), Outlining(task))
    )
    differing = (np.abs(boxes.astype(int) - shapes) > 60).any(axis=2)
    rows, columns = np.nonzero(differing)
    assert len(rows) > 20
    if task == "obb":
        assert rows.max() > 131 and columns.max() > 135, "the corners stick out of the straight box"
    else:
        assert rows.min() >= 96 and rows.max() < 130 and columns.min() >= 100 and columns.max() < 135


def test_odd_sizes_are_annotated(encode: Encode, ffmpeg: Ffmpeg, place: Place, tmp_path: Path) -> None:
    plain = encode("plain.mp4", passing(6), 10)
    ffmpeg("-i", plain, "-vf", "scale=161:121", "-c:v", "png", tmp_path / "odd.mov")
    output = place.run(tmp_path / "odd.mov", annotate=True)
    assert (output["width"], output["height"]) == (161, 121)
    assert output["annotated"]["bytes"] > 500


def test_nothing_to_be_seen_is_no_error(encode: Encode, place: Place) -> None:
    output = place.run(encode("a.mp4", [scene()] * 5, 10), annotate=True)
    assert [frame["tracks"] for frame in output["frames"]] == [[]] * 5
    assert output["counts"] == {}
    assert output["summary"].startswith("Nothing was followed")


def test_many_frames_become_a_file(encode: Encode, place: Place) -> None:
    video = encode("a.mp4", passing(), 10)
    whole = place.run(video)
    size = len(json.dumps(whole))
    output = place.run(video, inline_bytes=size // 2)
    assert output["frames"]["media_type"] == "application/json"
    assert json.loads(place.content(output["frames"])) == whole["frames"]
    assert {**output, "frames": None} == {**whole, "frames": None}


def test_progress_goes_by_frames_and_never_falls(encode: Encode, place: Place) -> None:
    place.run(encode("a.mp4", passing(), 10))
    fractions = [told["fraction"] for told in place.told]
    assert fractions == sorted(fractions)
    steps = [(told["step"], told["steps"]) for told in place.told if told["step"] is not None]
    assert steps == [(n, 30) for n in range(1, 31)]
    assert place.told[5]["message"] == "frame 6 of 30, 0.5 s"


def test_a_canceled_job_stops_at_the_next_frame_and_leaves_nothing(encode: Encode, place: Place) -> None:
    looked = []

    def cancel() -> None:
        looked.append(len(looked))
        if len(looked) == 2:
            place.context.stop(JobCanceled("The job was canceled."))

    threads = threading.active_count()
    with pytest.raises(JobCanceled):
        place.run(encode("a.mp4", passing(), 10), Bright(cancel), annotate=True)
    assert looked == [0, 1]
    assert list(place.scratch.iterdir()) == []
    assert threading.active_count() == threads
    assert place.context.created == []


def test_a_detector_that_fails_leaves_nothing(encode: Encode, place: Place) -> None:
    def fail() -> None:
        raise MemoryError("no room")

    threads = threading.active_count()
    with pytest.raises(MemoryError):
        place.run(encode("a.mp4", passing(), 10), Bright(fail), annotate=True)
    assert list(place.scratch.iterdir()) == []
    assert threading.active_count() == threads


def test_a_cut_off_video_ends_with_what_was_read_and_a_warning(encode: Encode, place: Place) -> None:
    whole = encode("a.mp4", passing(), 10, ("-movflags", "+faststart", "-g", "5")).read_bytes()
    output = place.run(whole[: len(whole) * 2 // 3], annotate=True)
    assert 3 < output["frames_read"] < 30
    assert len(output["frames"]) == output["frames_read"]
    assert "cut off" in output["warnings"][0]
    assert output["annotated"]["bytes"] > 500


@pytest.mark.parametrize("content", [b"not a video", b"#EXTM3U\nhttp://127.0.0.1/x.ts\n"])
def test_a_text_is_no_video(content: bytes, place: Place) -> None:
    with pytest.raises(FinalError) as caught:
        place.run(content)
    assert caught.value.problem_code == "unsupported-media-type"
    assert list(place.scratch.iterdir()) == []
