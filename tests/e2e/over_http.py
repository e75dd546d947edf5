"""Jobs as a client without a library sends them."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx


def submit(http: httpx.Client, job_type: str, value: dict[str, Any], **options: Any) -> str:
    answer = http.post("/v1/jobs", json={"type": job_type, "input": value, **options})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def ended(http: httpx.Client, job_id: str, seconds: float = 150) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        job: dict[str, Any] = http.get(f"/v1/jobs/{job_id}", params={"wait": 30}).json()
        if job["finished_at"]:
            return job
        assert time.monotonic() < deadline, job


def first_step(http: httpx.Client, job_id: str) -> None:
    """Until it says that it has done the first of its steps."""
    with http.stream("GET", f"/v1/jobs/{job_id}/events") as events:
        told = (json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: "))
        assert any(event.get("step") for event in told), "it ended without a step"


def run(http: httpx.Client, job_type: str, value: dict[str, Any]) -> Any:
    """The output."""
    job = ended(http, submit(http, job_type, value))
    assert job["status"] == "succeeded", job["error"]
    return job["output"]


def error(http: httpx.Client, job_type: str, value: dict[str, Any]) -> dict[str, Any]:
    """Of a job that fails for good at its first attempt."""
    job = ended(http, submit(http, job_type, value))
    assert job["status"] == "failed", job
    assert job["error"]["retryable"] is False
    assert job["attempt"] == 1
    failed: dict[str, Any] = job["error"]
    return failed


def upload(http: httpx.Client, name: str, content: bytes) -> dict[str, str]:
    answer = http.post("/v1/files", files={"file": (name, content)})
    assert answer.status_code == 201, answer.text
    return {"file_id": answer.json()["id"]}


def content(http: httpx.Client, file: dict[str, Any]) -> bytes:
    answer = http.get(file["url"])
    assert answer.status_code == 200
    assert len(answer.content) == file["bytes"]
    return answer.content
