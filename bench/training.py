"""One job that trains, over HTTP: from its submission to its end, with the moments of its steps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.processes import wait_until
from bench.stack import Measured

LIMIT_S = 1800.0
ENDED = ("succeeded", "failed", "canceled")


@dataclass(frozen=True)
class Trained:
    """``job``: as GET shows it; ``steps``: (number, moment in seconds) of each step that an event told of, by the
    ledger's clock, which stamps events as it gets them."""

    job: dict[str, Any]
    steps: list[tuple[int, float]]

    @property
    def run_s(self) -> float:
        """The whole run: reading, loading, training, plotting, publishing."""
        return float(self.job["usage"]["run_ms"]) / 1e3

    @property
    def steps_per_s(self) -> float:
        """From the end of the first step to the end of the last one; what lies between them, such as a measuring of
        the epoch, included. Raises ``RuntimeError`` if it told of too few."""
        if len(self.steps) < 2 or self.steps[-1][1] <= self.steps[0][1]:
            raise RuntimeError(f"{self.job['type']} told of too few steps: {self.steps}")
        (first, start), (last, end) = self.steps[0], self.steps[-1]
        return (last - first) / (end - start)


def train(stack: Measured, job_type: str, value: dict[str, Any]) -> Trained:
    """Submit a job and wait for its end. Raises ``RuntimeError`` unless it succeeds."""
    with stack.wire() as connection:
        body = json.dumps({"type": job_type, "input": value}).encode()
        answer = connection.exchange(connection.prepared("POST", "/v1/jobs", body))
        if answer.status != 202:
            raise RuntimeError(f"{job_type} was answered {answer.status}: {answer.body[:300]!r}")
        path = f"/v1/jobs/{answer.json()['id']}"
        wait_until(lambda: connection.get(path)["status"] in ENDED, LIMIT_S, f"{job_type} ended", 0.5)
        job = connection.get(path)
        if job["status"] != "succeeded":
            raise RuntimeError(f"{job_type} {job['status']}: {job['error']}")
        told = connection.exchange(connection.prepared("GET", f"{path}/events")).body.decode()
    return Trained(job, _steps(told))


def upload(stack: Measured, file: Path) -> str:
    """The id of an uploaded file."""
    headers = {"Authorization": f"Bearer {stack.key}"}
    with file.open("rb") as content:
        answer = httpx.post(f"{stack.url}/v1/files", files={"file": content}, headers=headers, timeout=120)
    answer.raise_for_status()
    return str(answer.json()["id"])


def _steps(told: str) -> list[tuple[int, float]]:
    """Of the stream of a job's events: when each step was first told of, from the first step on."""
    found: dict[int, float] = {}
    for event in told.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in event.splitlines() if ": " in line)
        if fields.get("event") == "progress":
            step = json.loads(fields["data"]).get("step") or 0
            if step > 0:
                found.setdefault(step, int(fields["id"].split("-")[0]) / 1e3)
    return sorted(found.items())
