"""The shapes of answers, for the OpenAPI document. Answers are built elsewhere; a test holds the two together."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from callboard_gateway.problems import MEDIA_TYPE
from callboard_shared.models import ModelInfo
from callboard_shared.states import JobStatus
from callboard_shared.voices import VoiceInfo

AT = "2026-11-22T09:30:00.000Z"
JOB_ID = "job_01kaq3v5ef7v8m2c4r6t8w0y2z"


class FieldError(BaseModel):
    field: str = Field(description="Path of the field, for example `input.texts.0`.")
    message: str
    code: str


class Problem(BaseModel):
    """RFC 9457. `code` is stable; `detail` says what to do."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:callboard:problem:not-found"])
    title: str
    status: int
    detail: str
    code: str = Field(examples=["not-found"])
    retryable: bool = Field(description="Whether the same request may succeed later.")
    instance: str = Field(default="", description="The path of the request.")
    errors: list[FieldError] | None = Field(default=None, description="For 422: the fields at fault.")
    trace_id: str = ""


class OpenAIFault(BaseModel):
    message: str
    type: str = Field(examples=["invalid_request_error"])
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """What everything under `/openai/v1` answers instead of a problem."""

    error: OpenAIFault


class Progress(BaseModel):
    model_config = ConfigDict(extra="allow")

    fraction: float | None = Field(default=None, ge=0, le=1)
    message: str | None = None
    step: int | None = None
    steps: int | None = None


class Links(BaseModel):
    self: str
    events: str
    cancel: str


class Job(BaseModel):
    """A job. Its status never leaves `succeeded`, `failed`, `canceled` and `expired`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": JOB_ID, "type": "system.echo", "queue": "system", "status": "succeeded", "priority": 0,
                    "input": {"value": {"hello": "world"}}, "output": {"value": {"hello": "world"}}, "error": None,
                    "progress": None, "queue_position": None, "eta_s": None, "waiting_for": None, "attempt": 1,
                    "max_attempts": 3, "timeout_s": 900, "worker": "system@host-1", "metadata": {"order": "17"},
                    "usage": {"queue_ms": 2, "run_ms": 1}, "created_at": AT, "scheduled_for": None,
                    "started_at": AT, "finished_at": AT, "expires_at": "2026-11-23T09:30:00.000Z",
                    "links": {
                        "self": f"/v1/jobs/{JOB_ID}", "events": f"/v1/jobs/{JOB_ID}/events",
                        "cancel": f"/v1/jobs/{JOB_ID}/cancel",
                    },
                }
            ]
        }
    )  # fmt: skip

    id: str
    type: str
    queue: str
    status: JobStatus
    priority: int
    input: Any
    output: Any
    error: Problem | None
    progress: Progress | None
    queue_position: int | None = Field(description="1 is next; for `queued` jobs.")
    eta_s: float | None = Field(description="Seconds until it has ended, estimated from measured rates.")
    waiting_for: str | None = Field(description="A sentence when something keeps it from starting.")
    attempt: int
    max_attempts: int
    timeout_s: float
    worker: str | None
    metadata: dict[str, str]
    usage: dict[str, Any]
    created_at: str
    scheduled_for: str | None
    started_at: str | None
    finished_at: str | None
    expires_at: str | None
    links: Links
    after: list[str] = Field(default=[], description="Only where it was submitted with it.")
    retried_from: str | None = Field(default=None, description="Only on a retry: the job that it repeats.")
    pipeline_id: str | None = Field(default=None, description="Only on a step: the pipeline's.")
    step: str | None = Field(default=None, description="Only on a step: its name in the pipeline.")
    batch_id: str | None = Field(default=None, description="Only on a line of a batch: the batch's.")
    line: int | None = Field(default=None, description="Only on a line of a batch: its number, from 1.")
    custom_id: str | None = Field(default=None, description="Only on a line of a batch that says one.")


class JobList(BaseModel):
    data: list[Job]
    next_cursor: str | None


class BatchAnswer(BaseModel):
    data: list[Job | Problem] = Field(description="In the order of the request.")


class JobTypeObject(BaseModel):
    name: str
    queue: str
    summary: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    example: dict[str, Any] = Field(description="An input that runs as it stands.")
    batch: dict[str, Any] | None
    limits: dict[str, Any]


class JobTypeList(BaseModel):
    data: list[JobTypeObject]
    next_cursor: None = None


class ModelList(BaseModel):
    data: list[ModelInfo]
    next_cursor: None = None


class VoiceList(BaseModel):
    data: list[VoiceInfo]
    next_cursor: None = None


_PIPELINE_ID = "pipe_01kaq3v5ef7v8m2c4r6t8w0y2z"


class PipelineStep(BaseModel):
    job_id: str
    type: str
    status: JobStatus
    after: list[str] = Field(description="The steps that it waits for.")
    job: Job | None = Field(
        default=None,
        description="The job, with its input as resolved once it can start; null when it is no longer kept. Not in "
        "lists.",
    )


class PipelineObject(BaseModel):
    """A pipeline. Its status never leaves `succeeded`, `failed` and `canceled`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _PIPELINE_ID, "status": "running",
                    "steps": {
                        "say": {"job_id": JOB_ID, "type": "llm.chat", "status": "running", "after": [], "job": None},
                        "voice": {
                            "job_id": "job_01kaq3v5ef7v8m2c4r6t8w0y30", "type": "tts.speech", "status": "blocked",
                            "after": ["say"], "job": None,
                        },
                    },
                    "progress": {"fraction": 0.0, "step": 0, "steps": 2, "message": "running: say"},
                    "output": None, "error": None, "metadata": {}, "created_at": AT, "finished_at": None,
                    "links": {
                        "self": f"/v1/pipelines/{_PIPELINE_ID}", "events": f"/v1/pipelines/{_PIPELINE_ID}/events",
                        "cancel": f"/v1/pipelines/{_PIPELINE_ID}/cancel",
                    },
                }
            ]
        }
    )  # fmt: skip

    id: str
    status: Literal["queued", "running", "canceling", "succeeded", "failed", "canceled"]
    steps: dict[str, PipelineStep] = Field(description="By name, as they were submitted.")
    progress: Progress = Field(description="Of the whole: each step counts alike.")
    output: dict[str, Any] | None = Field(
        description="Of a pipeline that succeeded: by name, the outputs of the steps that no other waits for."
    )
    error: Problem | None = Field(description="Of one that failed: which step it was (`step`), and why.")
    metadata: dict[str, str]
    created_at: str
    finished_at: str | None
    links: Links


class PipelineList(BaseModel):
    data: list[PipelineObject]
    next_cursor: str | None


class KeyObject(BaseModel):
    id: str
    name: str
    prefix: str = Field(examples=["cb_mzxw6ytb"])
    scopes: list[Literal["jobs:read", "jobs:write", "admin"]]
    limits: dict[str, Any] = Field(description="As they were given; null: as the gateway's settings say.")
    created_at: str
    expires_at: str | None
    last_used_at: str | None = Field(description="To some seconds.")


class NewKeyObject(KeyObject):
    key: str = Field(description="The key itself, shown this once.", examples=["cb_mzxw6ytb_…"])


class KeyList(BaseModel):
    data: list[KeyObject]
    next_cursor: str | None


class AuditObject(BaseModel):
    id: str
    at: str
    act: str = Field(examples=["key.created", "queue.paused"])
    by: str = Field(description="The id of the admin's key.")
    of: str = Field(description="What it was done to.")
    detail: dict[str, Any]


class AuditList(BaseModel):
    data: list[AuditObject]
    next_cursor: str | None


class QueueObject(BaseModel):
    name: str
    ready: int
    running: int
    scheduled: int
    workers: int
    slots: int
    oldest_wait_s: float
    rate_per_s: float
    paused: bool


class QueueList(BaseModel):
    data: list[QueueObject]
    next_cursor: None = None


class WorkerObject(BaseModel):
    id: str
    queue: str
    host: str
    pid: int
    started_at: str | None
    slots: int
    running: list[str] = Field(description="Ids of jobs.")
    models: list[str]
    note: str | None
    facts: dict[str, Any] = Field(
        description="What it sees around it, where it can tell: version, clock_skew_s, memory_bytes, disk_free_bytes, "
        "gpus, broker, store, ffmpeg, providers (which have keys)."
    )


class WorkerList(BaseModel):
    data: list[WorkerObject]
    next_cursor: None = None


class UsageRow(BaseModel):
    """`day` or `type`, as it was asked for."""

    day: str | None = None
    type: str | None = None
    jobs: int
    succeeded: int
    failed: int
    run_ms: int
    tokens: int
    characters: int


class UsageList(BaseModel):
    data: list[UsageRow]
    next_cursor: None = None


class Health(BaseModel):
    status: Literal["ok"]


class Readiness(BaseModel):
    status: Literal["ready"]
    ledger: Literal["ok"]
    version: str = Field(description="The gateway's release.")
    ledger_layout: int | None = Field(
        description="The number of the layout that the ledger's data have; null if none is written there."
    )
    newest_layout: int = Field(
        description="The newest layout that this release knows; the ledger's should be the same."
    )
    queues: list[QueueObject]


_SAID = {
    400: "What was sent is not JSON, or nested too deeply (`malformed`).",
    401: "No key, or one that is not valid (`unauthorized`).",
    403: "The key lacks the scope (`forbidden`).",
    404: "There is no such thing, or it is another key's (`not-found`).",
    409: "The state does not allow it (`conflict` and others).",
    413: "The body is too large (`too-large`).",
    415: "The content is of the wrong kind (`unsupported-media-type`).",
    422: "Not valid (`validation` and others); `errors` names the fields.",
    429: "Over a limit (`rate-limited`, `queue-full`, `budget-exhausted`); see `Retry-After`.",
    503: "The ledger is away (`ledger-unavailable`) or full (`queue-full`); see `Retry-After`.",
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}


def body_of(model: type[BaseModel], example: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    """The request body of a route that reads it by itself, for ``openapi_extra``."""
    schema = {"schema": model.model_json_schema(), "example": example}
    return {"requestBody": {"required": required, "content": {"application/json": schema}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route for these statuses."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        found[status] = {
            "description": _SAID[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if status in (429, 503):
            found[status]["headers"] = _RETRY_AFTER
    return found
