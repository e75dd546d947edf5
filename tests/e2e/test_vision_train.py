"""Training a detector over HTTP, on the embedded default: checked, told of, killed, canceled, used, deleted."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import zipfile
from typing import Any

import httpx
import pytest
from over_http import content, ended, error, run, submit, upload

from callboard_embedded.folder import Folder
from callboard_embedded.processes import records
from callboard_embedded.stack import Stack
from callboard_shared.jobs import DETECT, TRAIN

pytestmark = pytest.mark.models

EXAMPLE: dict[str, Any] = dict(TRAIN.example)


def events(http: httpx.Client, job_id: str) -> Any:
    """(kind, data) of each, as they come."""
    with http.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        kind = ""
        for line in stream.iter_lines():
            if line.startswith("event:"):
                kind = line.removeprefix("event:").strip()
            elif line.startswith("data:"):
                yield kind, json.loads(line.removeprefix("data:"))


def checkpoints(http: httpx.Client) -> list[dict[str, Any]]:
    files = http.get("/v1/files", params={"limit": 100}).json()["data"]
    return [one for one in files if one["purpose"] == "checkpoint"]


def test_a_detector_is_trained_told_of_at_once_usable_trained_further_and_deleted(http: httpx.Client) -> None:
    job_id = submit(http, "vision.train", {**EXAMPLE, "epochs": 2, "name": "figures"})
    told = [data for kind, data in events(http, job_id) if kind == "progress"]
    batches = [data for data in told if "box_loss" in data and "map50" not in data]
    assert {data["steps"] for data in batches} == {4} and batches[-1]["step"] == 4
    assert [data["epoch"] for data in told if "map50" in data] == [1, 2]
    fractions = [data["fraction"] for data in told]
    assert fractions == sorted(fractions)

    job = ended(http, job_id)
    assert job["status"] == "succeeded", job["error"]
    output = job["output"]
    assert (output["model"], output["task"], output["epochs"]) == ("figures@1", "detect", 2)
    assert output["base_model"] == "yolo11n.yaml" and output["classes"] == ["circle", "square", "triangle"]
    assert (output["train_images"], output["eval_images"]) == (8, 4)
    assert 0 <= output["map50_95"] <= output["map50"] <= 1
    assert "resumed_from_epoch" not in output and "warnings" not in output
    for name in ("training_plot", "confusion_plot", "precision_recall_plot"):
        assert content(http, output["files"][name]).startswith(b"\x89PNG")
    assert content(http, output["files"]["weights"]).startswith(b"PK")
    assert len(content(http, output["files"]["onnx"])) > 1_000_000

    listed = {one["name"]: one for one in http.get("/v1/models").json()["data"]}["figures@1"]
    assert (listed["kind"], listed["task"], listed["job_id"]) == ("detector", "detect", job_id)
    assert listed["metrics"]["map50"] == output["map50"] and listed["details"]["classes"] == output["classes"]
    seen = run(
        http, "vision.detect", {**DETECT.example, "model": "figures", "confidence": 0.0, "image_size": 64}
    )
    assert seen["model"] == "figures@1" and {one["label"] for one in seen["detections"]} <= set(
        output["classes"]
    )

    again = run(http, "vision.train", {**EXAMPLE, "base_model": "figures@1", "name": "figures"})
    assert (again["model"], again["base_model"]) == ("figures@2", "figures@1")
    for version in (1, 2):
        assert http.delete(f"/v1/models/figures@{version}").status_code == 204
    gone = http.post(
        "/v1/jobs", json={"type": "vision.detect", "input": {**DETECT.example, "model": "figures"}}
    )
    assert gone.status_code == 422 and gone.json()["code"] == "unknown-model"


@pytest.mark.slow
def test_a_training_whose_worker_is_killed_goes_on_with_the_epoch_after_its_checkpoint(
    stack: Stack, http: httpx.Client
) -> None:
    job_id = submit(http, "vision.train", {**EXAMPLE, "epochs": 12, "name": "survivor"})
    for _, data in events(http, job_id):
        if data.get("epoch", 0) >= 2 and checkpoints(http):  # stored beside the training, so a little later
            break
    worker = next(one for one in records(Folder(stack.home).run) if one.name == "vision-train")
    for pid in worker.session():
        os.kill(pid, signal.SIGKILL)
    job = ended(http, job_id, 240)
    assert job["status"] == "succeeded", job["error"]
    assert job["attempt"] == 2
    output = job["output"]
    assert output["resumed_from_epoch"] >= 1, "it did not start from nothing"
    assert output["epochs"] == 12
    assert [entry["epoch"] for entry in output["history"]] == list(range(1, 13))
    assert checkpoints(http) == [], "checkpoints go when the job has ended"


def test_a_training_stops_soon_after_it_is_canceled(http: httpx.Client) -> None:
    job_id = submit(http, "vision.train", {**EXAMPLE, "epochs": 500, "name": "never"})
    for _, data in events(http, job_id):
        if "box_loss" in data:
            break
    assert http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    job = ended(http, job_id, 20)
    assert job["status"] == "canceled"
    assert http.get("/v1/models/never@1").status_code == 404
    assert checkpoints(http) == []


def test_a_data_set_with_faults_is_refused_with_every_file_and_line(http: httpx.Client) -> None:
    spoilt = io.BytesIO()
    given = zipfile.ZipFile(io.BytesIO(base64.b64decode(EXAMPLE["dataset"]["base64"])))
    with given, zipfile.ZipFile(spoilt, "w") as archive:
        for name in given.namelist():
            data = given.read(name)
            archive.writestr(name, b"7 0.5 0.5 2 2\n" + data if name.startswith("labels/val") else data)
        archive.writestr("../../escaped.txt", "x")
    failed = error(
        http, "vision.train", {**EXAMPLE, "dataset": upload(http, "shapes.zip", spoilt.getvalue())}
    )
    assert failed["code"] == "dataset-invalid" and "leads out" in failed["errors"][0]["message"]

    with zipfile.ZipFile(spoilt) as given, zipfile.ZipFile(whole := io.BytesIO(), "w") as archive:
        for name in given.namelist()[:-1]:
            archive.writestr(name, given.read(name))
    failed = error(http, "vision.train", {**EXAMPLE, "dataset": upload(http, "shapes.zip", whole.getvalue())})
    assert [(one["file"], one["line"]) for one in failed["errors"]] == [
        (f"labels/val/{number:04}.txt", 1) for number in range(4)
    ]
    assert "labels/val/0000.txt, line 1: Class 7 is not named" in failed["detail"]


def test_weights_that_are_not_here_are_told_with_the_place_to_put_them(http: httpx.Client) -> None:
    failed = error(http, "vision.train", {**EXAMPLE, "base_model": "yolo11n.pt"})
    assert failed["code"] == "model-unavailable" and "yolo11n" in failed["detail"]
