"""How a pipeline looks to clients: the one place that turns its record and its jobs into the API's pipeline object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from callboard_shared.errors import FinalError
from callboard_shared.ledger.pipelining import PipelineRecord, Step
from callboard_shared.ledger.records import JobRecord
from callboard_shared.states import JobStatus
from callboard_shared.view import job_view, timestamp

Jobs = Mapping[str, JobRecord]


def pipeline_view(
    pipeline: PipelineRecord, jobs: Sequence[JobRecord | None], *, whole: bool = True
) -> dict[str, Any]:
    """The pipeline object; ``jobs`` as far as they are (still) there; ``whole``: each step with its job."""
    found = {job.id: job for job in jobs if job is not None}
    status = status_of(pipeline, found)
    links = f"/v1/pipelines/{pipeline.id}"
    return {
        "id": pipeline.id,
        "status": status,
        "steps": {step.name: _step(pipeline, step, found, whole) for step in pipeline.steps},
        "progress": progress_of(pipeline, found),
        "output": _output(pipeline, found),
        "error": _error(pipeline, found),
        "metadata": dict(pipeline.metadata),
        "created_at": timestamp(pipeline.created_ms),
        "finished_at": timestamp(pipeline.finished_ms),
        "links": {"self": links, "events": f"{links}/events", "cancel": f"{links}/cancel"},
    }


def status_of(pipeline: PipelineRecord, jobs: Jobs) -> str:
    """It is over when its record says so: a moment after its last job has ended."""
    if pipeline.status is not None:
        return pipeline.status.value
    if pipeline.canceling:
        return JobStatus.CANCELING.value
    begun = any(job.started_ms is not None or job.status.is_terminal for job in jobs.values())
    return (JobStatus.RUNNING if begun or pipeline.ends else JobStatus.QUEUED).value


def progress_of(pipeline: PipelineRecord, jobs: Jobs) -> dict[str, Any]:
    """Of the whole: steps that have ended, and the fractions of those that run, each step counting alike."""
    done, ended, running = 0.0, 0, []
    for step in pipeline.steps:
        job = jobs.get(step.job_id)
        if step.job_id in pipeline.ends or (job is not None and job.status.is_terminal):
            ended += 1
            done += 1
        elif job is not None and job.status is JobStatus.RUNNING:
            running.append(step.name)
            done += _fraction(job)
    steps = len(pipeline.steps)
    progress: dict[str, Any] = {"fraction": round(done / steps, 4), "step": ended, "steps": steps}
    return progress | ({"message": f"running: {', '.join(running)}"} if running else {})


def _fraction(job: JobRecord) -> float:
    told = orjson.loads(job.progress).get("fraction") if job.progress else None
    return min(1.0, max(0.0, told)) if isinstance(told, int | float) else 0.0


def _step(pipeline: PipelineRecord, step: Step, jobs: Jobs, whole: bool) -> dict[str, Any]:
    job = jobs.get(step.job_id)
    view: dict[str, Any] = {
        "job_id": step.job_id,
        "type": step.type,
        "status": _status_of_step(pipeline, step, job),
        "after": list(step.needs),
    }
    return view | {"job": job_view(job) if job else None} if whole else view


def _status_of_step(pipeline: PipelineRecord, step: Step, job: JobRecord | None) -> str:
    if job is not None:
        return job.status.value
    return pipeline.ends.get(step.job_id, JobStatus.BLOCKED).value


def _output(pipeline: PipelineRecord, jobs: Jobs) -> dict[str, Any] | None:
    """What the pipeline is for: the outputs of the steps that no other waits for."""
    if pipeline.status is not JobStatus.SUCCEEDED:
        return None
    needed = {need for step in pipeline.steps for need in step.needs}
    last = {step.name: jobs.get(step.job_id) for step in pipeline.steps if step.name not in needed}
    return {name: orjson.Fragment(job.output) if job and job.output else None for name, job in last.items()}


def _error(pipeline: PipelineRecord, jobs: Jobs) -> dict[str, Any] | None:
    """Which step brought the pipeline down: the first that did not end so because of another."""
    if pipeline.status is not JobStatus.FAILED:
        return None
    for step in pipeline.steps:
        status = pipeline.ends.get(step.job_id, JobStatus.FAILED)
        job = jobs.get(step.job_id)
        error = orjson.loads(job.error) if job is not None and job.error else {}
        if status is JobStatus.SUCCEEDED or error.get("code") == "dependency-failed":
            continue
        why = f": {error['detail']}" if status is JobStatus.FAILED and "detail" in error else "."
        detail = f"Step '{step.name}' ended as {status.value}{why}"
        return FinalError(detail, code="step-failed", members={"step": step.name}).problem()
    return FinalError("A step did not succeed.", code="step-failed").problem()


def unfilled(spec: Mapping[str, Any]) -> bool:
    """Whether this is the spec of a step that has not got its input: it still has its references."""
    return "takes" in (spec.get("pipeline") or {})
