"""How a job looks to clients: the one place that turns a ledger record into the API's job object."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from callboard_shared.ledger.records import JobRecord
from callboard_shared.states import JobStatus


def timestamp(ms: int | None) -> str | None:
    """RFC 3339 in UTC with milliseconds."""
    return None if ms is None else f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    # One job shows up to five times, and the jobs of a moment mostly the same ones.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def job_view(job: JobRecord) -> dict[str, Any]:
    """The job object of the API; inputs and outputs stay fragments of JSON, so that nothing is parsed twice."""
    spec = orjson.loads(job.spec)
    queued = job.status is JobStatus.QUEUED
    links = f"/v1/jobs/{job.id}"
    view: dict[str, Any] = {
        "id": job.id,
        "type": job.type,
        "queue": job.queue,
        "status": job.status.value,
        "priority": job.priority,
        "input": spec.get("input"),
        "output": orjson.Fragment(job.output) if job.output else None,
        "error": orjson.Fragment(job.error) if job.error and _shows_error(job) else None,
        "progress": orjson.Fragment(job.progress) if job.progress else None,
        "queue_position": job.position if queued else None,
        "eta_s": _eta_s(job),
        "waiting_for": waiting_for(job),
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "timeout_s": job.timeout_ms / 1000,
        "worker": job.worker.split("#", 1)[0] if job.worker else None,
        "metadata": spec.get("metadata") or {},
        "usage": _usage(job),
        "created_at": timestamp(job.created_ms),
        "scheduled_for": timestamp(job.scheduled_ms) if job.status is JobStatus.SCHEDULED else None,
        "started_at": timestamp(job.started_ms),
        "finished_at": timestamp(job.finished_ms),
        "expires_at": timestamp(job.expires_ms),
        "links": {"self": links, "events": f"{links}/events", "cancel": f"{links}/cancel"},
    }
    for name in ("after", "retried_from"):
        if spec.get(name):
            view[name] = spec[name]
    if "batch" in spec:
        view |= {"batch_id": spec["batch"]["id"], "line": spec["batch"]["line"]}
        view |= {"custom_id": spec["batch"]["custom_id"]} if "custom_id" in spec["batch"] else {}
    if "pipeline" in spec:
        view |= {"pipeline_id": spec["pipeline"]["id"], "step": spec["pipeline"]["step"]}
    return view


def _shows_error(job: JobRecord) -> bool:
    return job.status not in (JobStatus.SUCCEEDED, JobStatus.CANCELED)


def _eta_s(job: JobRecord) -> float | None:
    return round(job.eta_ms / 1000, 3) if job.status is JobStatus.QUEUED and job.eta_ms is not None else None


def _usage(job: JobRecord) -> dict[str, Any]:
    usage: dict[str, Any] = {}
    if job.claimed_ms is not None:
        started = job.started_ms or job.claimed_ms
        due = (
            job.scheduled_ms or 0
        )  # after a retry this is later than the first start, and says nothing of it
        usage["queue_ms"] = max(0, started - max(job.created_ms, due if due <= started else 0))
        if job.finished_ms is not None:
            usage["run_ms"] = max(0, job.finished_ms - job.claimed_ms)
    if job.usage:
        usage.update(orjson.loads(job.usage))
    return usage


def waiting_for(job: JobRecord) -> str | None:
    """One sentence when something keeps a waiting job from starting; None when all is as it should be."""
    if job.status is JobStatus.BLOCKED:
        jobs = [
            one for one in job.waits if one.startswith("job_")
        ]  # else its pipeline, which is being submitted
        return f"It starts when {', '.join(jobs)} has succeeded." if jobs else None
    if job.status is JobStatus.SCHEDULED:
        if job.error:
            detail = str(orjson.loads(job.error).get("detail", "")).rstrip(".")
            return (
                f"Attempt {job.attempt} of {job.max_attempts} failed ({detail}); the next starts by itself."
            )
        return None
    if job.status is not JobStatus.QUEUED:
        return None
    if job.paused:
        return f"Queue {job.queue} is paused; POST /v1/queues/{job.queue}/resume lets it go on."
    if job.workers == 0:
        return f"No worker is online for queue {job.queue}; start one with: {START_COMMANDS.get(job.queue, 'make run')}"
    return None


START_COMMANDS = {
    "nlp": "python -m callboard_nlp",
    "nlp-train": "CALLBOARD_NLP_QUEUES=nlp-train python -m callboard_nlp",
    "llm": "python -m callboard_llm",
    "tts": "python -m callboard_llm",
    "vision": "python -m callboard_vision",
    "vision-train": "CALLBOARD_VISION_QUEUES=vision-train python -m callboard_vision",
    "courier": "python -m callboard_courier",
    "system": "python -m callboard_courier",
}
"""What starts a worker for a queue, said to whoever waits in vain."""
