"""vision.track over HTTP on the embedded default: a sign goes by, and is followed."""

from __future__ import annotations

import base64
import subprocess
import time
from pathlib import Path
from typing import Any

import av
import httpx
import imageio_ffmpeg
import psutil
import pytest
from over_http import content, ended, error, first_step, run, submit, upload

from callboard_embedded.stack import Stack
from callboard_shared.jobs.vision import TRACK

pytestmark = pytest.mark.models

EXAMPLE: dict[str, Any] = dict(TRACK.example)
PASSING_SIGN = base64.b64decode(EXAMPLE["video"]["base64"])


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two minutes in which nothing is to be found; its index stands in front."""
    path = tmp_path_factory.mktemp("video") / "long.mp4"
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi",
         "-i", "testsrc2=size=320x240:rate=25:duration=120", "-c:v", "libx264", "-preset", "ultrafast",
         "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(path)],
        check=True,
    )  # fmt: skip
    return path.read_bytes()


def test_the_example_is_one_sign(http: httpx.Client) -> None:
    output = run(http, "vision.track", EXAMPLE)
    assert output["counts"] == {"stop sign": 1}
    assert output["summary"] == "1 stop sign was followed through 2.0 s of video, in 12 frames."
    assert [frame["frame"] for frame in output["frames"]] == list(range(0, 24, 2))
    assert {one["track_id"] for frame in output["frames"] for one in frame["tracks"]} == {1}
    assert (output["frames_read"], output["frames_tracked"], output["model"]) == (24, 12, "yolov3-tiny")


def test_the_annotated_video_is_an_mp4_that_can_be_read_in_parts(http: httpx.Client, tmp_path: Path) -> None:
    line = {"name": "middle", "start": [208, 312], "end": [208, 0]}
    output = run(http, "vision.track", {**EXAMPLE, "annotate": True, "lines": [line]})
    assert output["lines"] == [{"name": "middle", "forth": 1, "back": 0}]
    file = output["annotated"]
    whole = content(http, file)
    part = http.get(file["url"], headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole[100:200])
    assert part.headers["content-type"] == file["media_type"] == "video/mp4"
    (tmp_path / "annotated.mp4").write_bytes(whole)
    with av.open(str(tmp_path / "annotated.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 416, 312)
        assert [frame.time for frame in container.decode(stream)] == pytest.approx(
            [n / 6 for n in range(12)], abs=0.001
        )


def test_a_job_is_canceled_in_the_middle_of_a_video(
    http: httpx.Client, stack: Stack, long_video: bytes
) -> None:
    video = upload(http, "long.mp4", long_video)
    job_id = submit(http, "vision.track", {"video": video, "annotate": True})
    first_step(http, job_id)
    assert http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    canceled = time.monotonic()
    job = ended(http, job_id)
    assert (job["status"], job["attempt"]) == ("canceled", 1)
    assert time.monotonic() - canceled < 8  # by itself: what does not stop is killed after ten seconds
    assert 0 < job["progress"]["fraction"] < 0.98
    running = [" ".join(one.cmdline()) for one in psutil.Process(stack.pid).children(recursive=True)]
    assert not [line for line in running if "ffmpeg" in line]


def test_a_cut_off_video_ends_with_what_was_read(http: httpx.Client, long_video: bytes) -> None:
    video = upload(http, "cut.mp4", long_video[: len(long_video) // 2])
    output = run(http, "vision.track", {"video": video, "every_n_frames": 100})
    assert 1000 < output["frames_read"] < 2000
    assert "cut off" in output["warnings"][0]
    assert output["duration_s"] == pytest.approx(output["frames_read"] / 25, abs=0.1)


@pytest.mark.parametrize("video", [b"This is no video.", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/a.ts\n"])
def test_what_is_no_video_is_refused_at_once(video: bytes, http: httpx.Client) -> None:
    for given, field in (
        ({"base64": base64.b64encode(video).decode()}, "input.video.base64"),
        (upload(http, "road.mp4", video), "input.video.file_id"),
    ):
        answer = http.post("/v1/jobs", json={"type": "vision.track", "input": {"video": given}})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")
        assert answer.json()["errors"][0]["field"] == field


def test_a_video_cut_off_within_its_index_fails_and_says_so(http: httpx.Client) -> None:
    damaged = PASSING_SIGN[:500]
    problem = error(http, "vision.track", {"video": {"base64": base64.b64encode(damaged).decode()}})
    assert problem["code"] == "video-damaged"


def test_what_cannot_be_meant_is_refused_at_once(http: httpx.Client) -> None:
    for wrong in (
        {"every_n_frames": 0},
        {"tracker": "deepsort"},
        {"lines": [{"start": [5, 5], "end": [5, 5]}]},
        {"confidence": 1.5},
        {"model": "no-such-model"},
    ):
        answer = http.post("/v1/jobs", json={"type": "vision.track", "input": {**EXAMPLE, **wrong}})
        assert answer.status_code == 422, (wrong, answer.text)
    assert error(http, "vision.track", {**EXAMPLE, "classes": ["unicorn"]})["code"] == "unknown-class"
