"""The default detector follows what goes by in the example's video."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from callboard_shared.files import Files, FileSettings, configured_store
from callboard_shared.jobs.vision import TRACK, TrackInput
from callboard_shared.worker import Context, Job
from callboard_shared.worker.models import OpenModel
from callboard_shared.worker.workshop import Workshop
from callboard_vision.default_models import yolov3_tiny
from callboard_vision.engines import Detector, open_detector
from callboard_vision.handlers.track import TrackHandlers

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    folder = tmp_path_factory.mktemp("yolov3-tiny")
    yolov3_tiny(folder, 2)
    return open_detector(folder, threads=2, cache=tmp_path_factory.mktemp("cache"))


class OneModel:
    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def get(self, jobs: Any, name: str, *tasks: str) -> OpenModel:
        return OpenModel(name, "detect", self._detector)


@pytest.mark.parametrize("tracker", ["bytetrack", "botsort"])
@pytest.mark.parametrize("every_n", [1, 2, 3])
def test_the_sign_that_passes_is_one_track(
    tracker: str, every_n: int, detector: Detector, tmp_path: Path
) -> None:
    given = {**TRACK.example, "every_n_frames": every_n, "tracker": tracker}
    given["lines"] = [{"start": [208, 300], "end": [208, 0]}]
    files = Files(configured_store(FileSettings(files_dir=tmp_path / "files")))
    context = Context("job_1", "vision", "key_a", 1, runner="v#1", send=lambda call: True, files=files)
    value = TrackInput.model_validate(given, strict=False)
    assert base64.b64decode(value.video.base64 or "")[4:8] == b"ftyp"
    workshop = Workshop(lambda: pytest.fail("nothing is stored"), 2, tmp_path / "scratch")
    model: Any = OneModel(detector)
    handlers = TrackHandlers(model, workshop, cache=tmp_path, max_pixels=10**7, inline_bytes=10**6)
    output = handlers.track(Job("job_1", "vision.track", "key_a", 1, value, context))
    assert output["counts"] == {"stop sign": 1}
    seen = [(frame["frame"], one) for frame in output["frames"] for one in frame["tracks"]]
    assert len(seen) == len(output["frames"]) == -(-24 // every_n)
    assert {one["track_id"] for _, one in seen} == {1}
    for number, one in seen:  # the sign's centre, as it was drawn
        middle = (one["box"][0] + one["box"][2]) / 2
        assert middle == pytest.approx(86 + number * 244 // 23, abs=12)
    assert output["lines"] == [{"name": "line", "forth": 1, "back": 0}]
    assert output["summary"].startswith("1 stop sign was followed through 2.0 s of video")
