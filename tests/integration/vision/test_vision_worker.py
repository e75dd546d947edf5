"""The vision worker as a process: batches, cancels, kills."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
from pathlib import Path

import imageio_ffmpeg
import orjson
import psutil
import pytest
from sights import QUEUE, SIGN, Sights, children, noise
from trials import until

from callboard_shared.jobs import TRACK
from callboard_shared.ledger import filing, verbs
from callboard_shared.settings import ModelSettings
from callboard_shared.view import job_view

pytestmark = pytest.mark.models


def test_jobs_that_wait_are_looked_at_together_and_each_gets_its_own(sights: Sights) -> None:
    blank = noise(1, 64, 64)
    inputs = [{"image": SIGN if place % 2 else blank, "confidence": 0.5} for place in range(8)]
    ids = sights.submit(*inputs)
    sights.worker()
    records = sights.ended(ids)
    assert [orjson.loads(record.output or b"{}")["counts"] for record in records] == [
        {"stop sign": 1} if place % 2 else {} for place in range(8)
    ]
    assert max(job_view(record)["usage"]["batch_jobs"] for record in records) > 1


def test_a_canceled_job_stops_between_two_parts_and_leaves_the_worker_alive(sights: Sights) -> None:
    worker = sights.worker()
    before = [child.pid for child in children(worker)]
    (long,) = sights.submit({"images": [noise(seed) for seed in range(8)] * 8})
    until(lambda: sights.steps(long) > 0, 60, "the first part is done")
    sights.trial.ledger.run(verbs.cancel(long, QUEUE))
    (record,) = sights.ended([long])
    assert record.status.value == "canceled"
    (output,) = sights.outputs(sights.submit({"image": SIGN}))
    assert output["counts"] == {"stop sign": 1}
    assert [child.pid for child in children(worker)] == before


def test_a_killed_process_costs_an_attempt_and_no_job(sights: Sights) -> None:
    worker = sights.worker()
    (long,) = sights.submit({"images": [noise(seed) for seed in range(8)] * 6, "annotate": True})
    until(lambda: sights.steps(long) > 0, 60, "the first part is done")
    for child in children(worker):
        os.kill(child.pid, signal.SIGKILL)
    (record,) = sights.ended([long], 120)
    assert record.status.value == "succeeded"
    assert record.attempt == 2
    output = orjson.loads(record.output or b"{}")
    assert len(output["images"]) == 48
    names = {seen["annotated"]["file_id"] for seen in output["images"]}
    assert len(names) == 48
    assert len(list((sights.trial.folder / "files").glob("*/file_*"))) >= 48


def long_video(folder: Path) -> bytes:
    """The passing sign, again and again."""
    short, long = folder / "short.mp4", folder / "long.mp4"
    short.write_bytes(base64.b64decode(TRACK.example["video"]["base64"]))
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-stream_loop", "9", "-i", str(short), "-c", "copy", str(long)],
        check=True,
    )  # fmt: skip
    return long.read_bytes()


def kept(sights: Sights) -> set[str]:
    """The names of all files below the object store."""
    return {path.name for path in (sights.trial.folder / "files").rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_tracking_job_that_is_killed_runs_again_and_leaves_nothing_behind(
    sights: Sights, tmp_path: Path
) -> None:
    """Killed while frames are drawn and encoded into a video that nobody will ever see."""
    cache, models = tmp_path / "cache", str(ModelSettings().default_models_path)
    worker = sights.worker(CALLBOARD_CACHE_DIR=str(cache), CALLBOARD_DEFAULT_MODELS_DIR=models)
    given = sights.trial.files.put_bytes("key_a", "long.mp4", long_video(tmp_path))
    sights.trial.ledger.run(filing.put_file(given))
    asked = {"video": {"file_id": given.id}, "every_n_frames": 2, "annotate": True}
    (undisturbed,) = sights.ended(sights.submit(asked, job_type=TRACK), 120)
    (killed,) = sights.submit(asked, job_type=TRACK)
    until(lambda: sights.steps(killed) > 20, 60, "it is in the middle of its video")
    scratch = cache / "scratch"
    assert list(scratch.glob(f"{killed}-*/annotated.mp4")), "it is being written"
    encoders = [one for child in children(worker) for one in child.children(recursive=True)]
    for child in children(worker):
        os.kill(child.pid, signal.SIGKILL)
    (record,) = sights.ended([killed], 120)
    assert (undisturbed.status.value, undisturbed.attempt) == ("succeeded", 1)
    assert (record.status.value, record.attempt) == ("succeeded", 2)
    first, second = (orjson.loads(one.output or b"{}") for one in (undisturbed, record))
    for same in ("counts", "summary", "frames_read", "frames_tracked"):
        assert first[same] == second[same], same
    assert sum(first["counts"].values()) > 0
    assert list(scratch.iterdir()) == []
    assert kept(sights) == {given.id, *undisturbed.files, *record.files}
    assert not [one for one in encoders if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert sights.trial.nothing_is_held(QUEUE)


def test_without_its_default_model_a_worker_says_so_and_serves_others(
    sights: Sights, tmp_path: os.PathLike[str]
) -> None:
    empty = os.path.join(tmp_path, "none")
    sights.worker(CALLBOARD_DEFAULT_MODELS_DIR=empty)
    (record,) = sights.ended(sights.submit({"image": SIGN}))
    assert record.status.value == "failed"
    problem = orjson.loads(record.error or b"{}")
    assert problem["code"] == "unknown-model"
