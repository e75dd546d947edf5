"""Classifiers over HTTP, on the embedded default: the one that is there, and those that one trains and measures."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from typing import Any

import httpx
import pyarrow
import pytest
from over_http import content, ended, error, run, submit, upload
from pyarrow import parquet

from callboard_embedded.folder import Folder
from callboard_embedded.processes import records
from callboard_embedded.stack import Stack
from callboard_shared.jobs import FINETUNE

pytestmark = pytest.mark.models

REVIEWS: list[dict[str, str]] = list(FINETUNE.example["dataset"])
SMALL: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-4, "max_length": 32}


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["text", "label"])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def test_feelings_are_told_out_of_the_box(http: httpx.Client) -> None:
    output = run(
        http, "nlp.classify", {"texts": ["A warm and funny film, I loved it.", "Two hours of boredom."]}
    )
    assert [one["label"] for one in output["results"]] == ["positive", "negative"]
    for one in output["results"]:
        assert one["score"] == max(one["scores"].values()) > 0.8
        assert sum(one["scores"].values()) == pytest.approx(1, abs=1e-4)
    listed = {one["name"]: one for one in http.get("/v1/models").json()["data"]}["sentiment"]
    assert (listed["kind"], listed["task"]) == ("classifier", "classify")
    assert 0.85 < listed["metrics"]["accuracy"] < 0.95


def test_a_classifier_is_tuned_told_of_and_at_once_usable_and_measured(http: httpx.Client) -> None:
    value = {**SMALL, "dataset": REVIEWS * 4, "epochs": 2, "name": "mine"}
    job_id = submit(http, "nlp.finetune", value)
    told: dict[str, list[dict[str, Any]]] = {}
    with http.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        kind = ""
        for line in stream.iter_lines():
            if line.startswith("event:"):
                kind = line.removeprefix("event:").strip()
            elif line.startswith("data:"):
                told.setdefault(kind, []).append(json.loads(line.removeprefix("data:")))
    steps = [data for data in told["progress"] if "learning_rate" in data]
    assert steps and steps[-1]["steps"] == 16 and all(data["loss"] > 0 for data in steps)
    assert [data["epoch"] for data in told["progress"] if "eval_loss" in data] == [1, 2]
    fractions = [data["fraction"] for data in told["progress"]]
    assert fractions == sorted(fractions)

    (job,) = told["done"]
    assert job["status"] == "succeeded", job["error"]
    output = job["output"]
    assert output["model"] == "mine@1" and output["steps"] == 16
    assert [sorted(entry) for entry in output["history"]] == [
        ["accuracy", "epoch", "eval_loss", "f1", "loss"]
    ] * 2
    assert output["train_samples"] + output["eval_samples"] == 96
    assert output["accuracy"] == output["history"][-1]["accuracy"] > 0.6
    assert output["confusion"]["labels"] == ["negative", "positive"]
    for plot in output["files"].values():
        assert content(http, plot).startswith(b"\x89PNG")

    labelled = run(http, "nlp.classify", {"texts": ["A delight from start to finish."], "model": "mine"})
    assert labelled["model"] == "mine@1" and set(labelled["results"][0]["scores"]) == {"negative", "positive"}
    measured = run(http, "nlp.evaluate", {"model": "mine@1", "dataset": REVIEWS})
    lines = [json.loads(line) for line in content(http, measured["predictions"]).splitlines()]
    assert [line["text"] for line in lines] == [row["text"] for row in REVIEWS]
    assert [line["label"] for line in lines] == [row["label"] for row in REVIEWS]
    right = sum(line["label"] == line["predicted"] for line in lines)
    assert measured["accuracy"] == pytest.approx(right / 24) and measured["samples"] == 24
    assert sum(map(sum, measured["confusion"]["matrix"])) == 24
    assert {one["label"]: one["samples"] for one in measured["labels"]} == {"negative": 12, "positive": 12}

    again = run(http, "nlp.finetune", {**SMALL, "dataset": REVIEWS, "base_model": "mine@1", "name": "mine"})
    assert again["model"] == "mine@2" and again["base_model"] == "mine@1"


def test_data_comes_as_csv_jsonl_or_parquet_and_a_label_1_is_a_label_1(http: httpx.Client) -> None:
    numbered = [{**row, "label": int(row["label"] == "positive")} for row in REVIEWS]
    lines = "\n".join(json.dumps({**row, "label": str(row["label"])}) for row in numbered).encode()
    table = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(numbered), table)
    files = {"rows.csv": as_csv(numbered), "rows.jsonl": lines, "rows.parquet": table.getvalue()}
    outputs = [
        run(http, "nlp.finetune", {**SMALL, "dataset": upload(http, name, data), "name": "formats"})
        for name, data in files.items()
    ]
    for output in outputs:
        assert output["confusion"]["labels"] == ["0", "1"]
        assert output["history"] == outputs[0]["history"], "the same rows give the same model"
    assert [output["model"] for output in outputs] == ["formats@1", "formats@2", "formats@3"]


def checkpoints(http: httpx.Client) -> list[dict[str, Any]]:
    files = http.get("/v1/files", params={"limit": 100}).json()["data"]
    return [one for one in files if one["purpose"] == "checkpoint"]


@pytest.mark.slow
def test_a_training_whose_worker_is_killed_goes_on_from_its_checkpoint(
    stack: Stack, http: httpx.Client
) -> None:
    value = {**SMALL, "dataset": REVIEWS * 6, "epochs": 4, "save_steps": 5, "name": "survivor"}
    job_id = submit(http, "nlp.finetune", value)
    with http.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        for line in stream.iter_lines():
            step = json.loads(line.removeprefix("data:")).get("step") if line.startswith("data:") else None
            if (step or 0) > 5 and checkpoints(http):  # stored beside the training, so a little later
                break
    worker = next(one for one in records(Folder(stack.home).run) if one.name == "nlp-train")
    for pid in worker.session():
        os.kill(pid, signal.SIGKILL)
    job = ended(http, job_id, 240)
    assert job["status"] == "succeeded", job["error"]
    assert job["attempt"] == 2
    assert job["output"]["resumed_from_step"] >= 5, "it did not start from nothing"
    assert job["output"]["steps"] == 48
    assert [entry["epoch"] for entry in job["output"]["history"]] == [1, 2, 3, 4]
    assert checkpoints(http) == [], "checkpoints go when the job has ended"


def test_a_training_stops_soon_after_it_is_canceled(http: httpx.Client) -> None:
    job_id = submit(http, "nlp.finetune", {**SMALL, "dataset": REVIEWS * 16, "epochs": 100, "name": "never"})
    with http.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data:") and (json.loads(line.removeprefix("data:")).get("step") or 0) >= 2:
                break
    assert http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    job = ended(http, job_id, 20)
    assert job["status"] == "canceled"
    assert http.get("/v1/models/never@1").status_code == 404


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (b"sentence,label\ngood,1\n", "missing-columns", "text"),
        (as_csv([{**row, "label": "positive"} for row in REVIEWS]), "one-label", "another label"),
        (as_csv([*REVIEWS, {"text": " ", "label": "positive"}]), "empty-rows", "row 25"),
        (as_csv([*REVIEWS, {"text": "no label", "label": ""}]), "missing-labels", "row 25"),
        (as_csv([{**row, "label": f"l{n % 100}"} for n, row in enumerate(REVIEWS * 10)]), "too-many-labels", "max_labels"),
        (as_csv(REVIEWS[:10]), "too-few-rows", "20"),
        ("text,label\n영화,좋음\n".encode("euc-kr"), "not-utf8", "iconv"),
        (b"\x80\x04\x95\x10\x00\x00\x00", "unsupported-format", "pickle"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_used_ends_the_job_with_the_cure(
    data: bytes, code: str, says: str, http: httpx.Client
) -> None:
    failed = error(http, "nlp.finetune", {**SMALL, "dataset": upload(http, "rows.csv", data)})
    assert failed["code"] == code and says in failed["detail"]


def test_a_base_that_is_no_encoder_is_refused_at_once(http: httpx.Client) -> None:
    for base, code in (("lee-news", "wrong-model"), ("nowhere", "unknown-model")):
        value = {**SMALL, "dataset": REVIEWS, "base_model": base}
        answer = http.post("/v1/jobs", json={"type": "nlp.finetune", "input": value})
        assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "input.base_model"
        assert answer.json()["code"] in (code, "unknown-model"), answer.text


def test_labels_that_the_model_never_saw_are_named(http: httpx.Client) -> None:
    rows = [{"text": "A film.", "label": "so-so"}, *REVIEWS]
    failed = error(http, "nlp.evaluate", {"dataset": rows})
    assert (
        failed["code"] == "unknown-labels" and "so-so" in failed["detail"] and "positive" in failed["detail"]
    )


def test_a_hub_data_set_without_a_network_says_what_to_do(http: httpx.Client) -> None:
    job = ended(http, submit(http, "nlp.finetune", {**SMALL, "dataset": {"hub": "imdb"}}, max_attempts=1))
    assert job["status"] == "failed" and job["error"]["code"] == "dataset-unavailable"
    assert "POST /v1/files" in job["error"]["detail"]
