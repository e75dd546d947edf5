"""A Transformer of one's own over HTTP, on the embedded default: trained, asked, canceled; and what is refused."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from itertools import product
from typing import Any

import httpx
import psutil
import pytest
from over_http import content, ended, error, run, submit, upload

from callboard_embedded.folder import Folder
from callboard_embedded.processes import records
from callboard_embedded.stack import Stack

pytestmark = pytest.mark.models

Events = list[tuple[str, dict[str, Any]]]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven")
PAIRS = [[f"{a} {b}", f"{WORDS[b]} {WORDS[a]}"] for a, b in product(range(8), repeat=2)]
SMALL: dict[str, Any] = {
    "d_model": 64, "nhead": 4, "num_encoder_layers": 1, "num_decoder_layers": 1, "dim_feedforward": 128,
    "dropout": 0.0, "learning_rate": 3e-3, "vocabulary_size": 300, "max_length": 16,
}  # fmt: skip
LONG = {**SMALL, "pairs": PAIRS * 40, "d_model": 256, "epochs": 1000}


def events(http: httpx.Client, job_id: str, last: Callable[[dict[str, Any]], Any] | None = None) -> Events:
    """Those of a job, from its start to the first of which ``last`` is true, or to its end."""
    kind, found = "", Events()
    with http.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("event:"):
                kind = line.removeprefix("event:").strip()
            elif line.startswith("data:"):
                found.append((kind, json.loads(line.removeprefix("data:"))))
                if kind == "done" or (last is not None and last(found[-1][1])):
                    break
    return found


def test_a_transformer_is_trained_from_a_file_and_writes_greedily_and_with_beams(http: httpx.Client) -> None:
    lines = "".join(f"{source},{target}\n" for source, target in PAIRS * 3)
    file = upload(http, "pairs.csv", f"source,target\n{lines}".encode())
    train = submit(http, "nlp.transformer.train", {**SMALL, "file": file, "epochs": 20, "name": "swap"})
    asked = {"texts": ["3 5", "0 7", "6 6"]}
    greedy = submit(http, "nlp.transformer.generate", {**asked, "model": "swap@1"}, after=[train])

    told = [data for kind, data in events(http, train) if kind == "progress"]
    steps = [data for data in told if "learning_rate" in data]
    assert len(steps) > 20 and steps[-1]["loss"] < 0.1 * steps[0]["loss"]
    assert any("eval_loss" in data and data["message"].startswith("epoch 20 of 20") for data in told)
    assert [data["fraction"] for data in told] == sorted(data["fraction"] for data in told)

    output = ended(http, train)["output"]
    assert output["model"] == "swap@1" and len(output["history"]) == 20
    assert output["history"][-1]["accuracy"] > 0.95
    assert content(http, output["files"]["training_plot"]).startswith(b"\x89PNG")

    job = ended(http, greedy)
    assert job["status"] == "succeeded", job["error"]
    assert job["output"]["texts"] == ["five three", "seven zero", "six six"]
    assert job["usage"]["tokens"] == job["output"]["tokens"] > 0
    beams = run(http, "nlp.transformer.generate", {**asked, "model": "swap", "beams": 4})
    assert beams["texts"] == job["output"]["texts"] and beams["model"] == "swap@1"
    pairs = zip(beams["scores"], job["output"]["scores"], strict=True)
    assert all(wide >= one - 1e-4 for wide, one in pairs)
    cut = run(http, "nlp.transformer.generate", {**asked, "model": "swap", "max_length": 1})
    assert cut["truncated"] == [0, 1, 2] and cut["tokens"] == 3

    listed = {one["name"]: one for one in http.get("/v1/models").json()["data"]}["swap@1"]
    assert (listed["kind"], listed["task"], listed["source"]) == ("transformer", "seq2seq", "trained")
    assert listed["metrics"]["accuracy"] == output["history"][-1]["accuracy"]
    assert {"config.json", "model.safetensors", "tokenizer.json", "training.png", "report.json"} == {
        part["path"] for part in listed["files"]
    }
    refused = http.post("/v1/jobs", json={"type": "nlp.embed", "input": {"texts": ["a"], "model": "swap@1"}})
    assert (refused.status_code, refused.json()["code"]) == (422, "wrong-model")
    long = error(http, "nlp.transformer.generate", {"texts": ["1", "1 " * 20], "model": "swap"})
    assert long["code"] == "text-too-long" and "Text 1 " in long["detail"]


def test_the_default_transformer_reads_numbers_out_of_the_box(http: httpx.Client) -> None:
    output = run(http, "nlp.transformer.generate", {"texts": ["407", "2026", "120345"]})
    assert (
        output["texts"] == ["사백칠", "이천이십육", "십이만 삼백사십오"] and output["model"] == "numbers-ko"
    )
    listed = {one["name"]: one for one in http.get("/v1/models").json()["data"]}["numbers-ko"]
    assert listed["task"] == "seq2seq" and listed["metrics"]["accuracy"] >= 0.99


def test_a_training_that_is_canceled_stops_between_steps(http: httpx.Client) -> None:
    job = submit(http, "nlp.transformer.train", {**LONG, "name": "stopped"})
    assert events(http, job, lambda data: data.get("step"))[-1][0] == "progress"
    assert http.post(f"/v1/jobs/{job}/cancel").status_code in (200, 202)
    assert ended(http, job, 20)["status"] == "canceled"
    assert "stopped@1" not in {one["name"] for one in http.get("/v1/models").json()["data"]}


@pytest.mark.slow
def test_a_training_whose_worker_is_killed_goes_on_from_its_last_checkpoint(
    stack: Stack, http: httpx.Client
) -> None:
    job = submit(http, "nlp.transformer.train", {**SMALL, "pairs": PAIRS * 4, "epochs": 10_000})
    begun = events(http, job, lambda data: data.get("step"))
    assert begun[-1][1]["step"] < 100
    # The end of an epoch after more than a second saves a checkpoint; here an epoch is short.
    time_up = time.monotonic() + 4
    events(http, job, lambda data: "eval_loss" in data and time.monotonic() > time_up)
    worker = psutil.Process(next(r.pid for r in records(Folder(stack.home).run) if r.name == "nlp-train"))
    for process in [*worker.children(recursive=True), worker]:
        os.kill(process.pid, signal.SIGKILL)
    told = events(http, job, lambda data: "resumed from step" in (data.get("message") or ""))
    killed_at = max(data.get("step") or 0 for _, data in told)
    resumed = int(told[-1][1]["message"].removeprefix("resumed from step "))
    assert 0 < resumed <= killed_at
    later = events(http, job, lambda data: (data.get("step") or 0) > killed_at)[len(told) :]
    assert next(data["step"] for kind, data in later if data.get("step")) == resumed + 1
    assert http.get(f"/v1/jobs/{job}").json()["attempt"] == 2
    http.post(f"/v1/jobs/{job}/cancel")
    assert ended(http, job, 20)["status"] == "canceled"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (b"english,korean\na,b\n", "missing-columns"),
        (b"source,target\na,b\n\xb0\xa1,b\n", "not-utf8"),
        (b"source,target\n" + b"a,b\n" * 8 + b"a,\n", "empty-rows"),
        (b"source,target\na,b\n", "too-few-pairs"),
        (b"source,target\n" + b"a a a a a a a a a a a a a a a a a a,b\n" * 8, "pairs-too-long"),
        (b"\x80\x04\x95\x00", "unsupported-format"),
    ],
)
def test_pairs_that_cannot_be_used_end_the_job_with_the_cure(
    lines: bytes, code: str, http: httpx.Client
) -> None:
    failed = error(
        http, "nlp.transformer.train", {**SMALL, "max_length": 8, "file": upload(http, "pairs.csv", lines)}
    )
    assert failed["code"] == code and len(failed["detail"]) > 40
