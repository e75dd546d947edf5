"""What the gateway answers, typed. Unknown fields are ignored and most known ones optional, so that this
client goes on working with a newer gateway."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

ENDED = frozenset({"succeeded", "failed", "canceled", "expired"})

T = TypeVar("T")


class Answer(BaseModel):
    """Base of all models: frozen, and lenient towards fields it does not know."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class FieldError(Answer):
    """One wrong field of a 422. ``field`` is its path, as in ``input.texts.0``."""

    field: str = ""
    message: str = ""
    code: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class Problem(Answer):
    """A problem as of RFC 9457; ``code`` is stable, ``detail`` is for people."""

    type: str = "about:blank"
    title: str = ""
    status: int = 0
    detail: str = ""
    instance: str | None = None
    code: str = "unknown"
    retryable: bool = False
    errors: list[FieldError] = Field(default_factory=list)
    trace_id: str | None = None
    job_id: str | None = None

    def __str__(self) -> str:
        text = f"{self.detail or self.title or 'no reason was given'} [{self.code}]"
        new = [error for error in self.errors if error.message not in text]
        return "; ".join([text, *map(str, new)])


class Progress(Answer):
    """How far a running job is; ``fraction`` is 0…1."""

    fraction: float | None = None
    message: str | None = None
    step: int | None = None
    steps: int | None = None


class Job(Answer):
    """A job as it was when the gateway answered; fetch it anew with ``jobs.get``."""

    id: str
    type: str
    status: str
    queue: str = ""
    priority: int = 0
    input: Any = None
    output: Any = None
    error: Problem | None = None
    progress: Progress | None = None
    queue_position: int | None = None
    eta_s: float | None = None
    waiting_for: str | None = None
    attempt: int = 0
    max_attempts: int | None = None
    worker: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    usage: dict[str, Any] = Field(default_factory=dict)
    timeout_s: float | None = None
    after: list[str] = Field(default_factory=list)
    retried_from: str | None = None
    pipeline_id: str | None = None
    step: str | None = None
    created_at: datetime | None = None
    scheduled_for: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def has_succeeded(self) -> bool:
        return self.status == "succeeded"


class PipelineStep(Answer):
    """A job of a pipeline; ``after``: the steps that it waits for. ``job`` is None in lists, and when it is gone."""

    job_id: str
    type: str = ""
    status: str = ""
    after: list[str] = Field(default_factory=list)
    job: Job | None = None


class Pipeline(Answer):
    """Jobs that take what others gave, by the names of their steps. ``output``: by name, what the last ones gave."""

    id: str
    status: str
    steps: dict[str, PipelineStep] = Field(default_factory=dict)
    progress: Progress | None = None
    output: dict[str, Any] | None = None
    error: Problem | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def has_succeeded(self) -> bool:
        return self.status == "succeeded"


class BatchCounts(Answer):
    """Lines of a batch; what is not ``pending`` has ended."""

    total: int = 0
    pending: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    expired: int = 0
    invalid: int = 0


class FileReference(Answer):
    """A file as outputs and batches name it."""

    file_id: str
    media_type: str = "application/octet-stream"
    bytes: int = 0
    sha256: str | None = None
    url: str | None = None


class Batch(Answer):
    """Jobs that were submitted as the lines of a file."""

    id: str
    status: str
    counts: BatchCounts = Field(default_factory=BatchCounts)
    file_id: str = ""
    output_file: FileReference | None = None
    errors_file: FileReference | None = None
    error: Problem | None = None
    waiting_for: str | None = None
    retried_from: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in ("completed", "failed", "canceled")


class BatchResult(Answer):
    """What became of one line. ``status``: succeeded, failed, canceled, expired, or invalid (no job at all)."""

    line: int
    custom_id: str | None = None
    job_id: str | None = None
    status: str
    output: Any = None
    error: Problem | None = None


class Event(Answer):
    """One event of a job. ``kind`` is status, progress, log, delta, done or reset; ``data`` is JSON."""

    id: str
    kind: str
    data: dict[str, Any]

    @property
    def job(self) -> Job | None:
        """The ended job that ``done`` carries; in the stream of all jobs without input and output."""
        return Job.model_validate(self.data) if self.kind == "done" else None


class File(Answer):
    """A stored file; its content comes by ``files.download``."""

    id: str
    name: str = ""
    media_type: str = "application/octet-stream"
    bytes: int = 0
    sha256: str | None = None
    purpose: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    url: str | None = None


class JobType(Answer):
    """A kind of job the gateway takes, with the JSON Schema of what goes in and comes out."""

    name: str
    queue: str = ""
    summary: str = ""
    input_schema: dict[str, Any] = Field(default_factory=dict)
    output_schema: dict[str, Any] = Field(default_factory=dict)
    example: Any = None
    batch: dict[str, Any] | None = None
    limits: dict[str, Any] | None = None


class Queue(Answer):
    """The state of one queue; ``slots`` is how many jobs (or batches) its workers run at a time."""

    name: str
    ready: int = 0
    running: int = 0
    scheduled: int = 0
    workers: int = 0
    slots: int = 0
    oldest_wait_s: float | None = None
    rate_per_s: float | None = None
    paused: bool = False


class Worker(Answer):
    """A worker process that is online; ``running`` holds job ids."""

    id: str
    queue: str = ""
    host: str = ""
    pid: int | None = None
    started_at: datetime | None = None
    slots: int = 0
    running: list[str] = Field(default_factory=list)
    models: list[Any] = Field(default_factory=list)
    note: str | None = None
    facts: dict[str, Any] = Field(default_factory=dict)


class Usage(Answer):
    """One row of usage: of a day or of a job type."""

    day: str | None = None
    type: str | None = None
    jobs: int = 0
    succeeded: int = 0
    failed: int = 0
    run_ms: float = 0
    tokens: int = 0
    characters: int = 0


class Key(Answer):
    """An API key. ``key`` is the secret, there only in the answer that made it. ``limits``: its own, by name."""

    id: str
    name: str = ""
    key: str | None = Field(default=None, repr=False)
    prefix: str = ""
    scopes: list[str] = Field(default_factory=list)
    limits: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


class Model(Answer):
    """A model that jobs may name: of the installation, or trained here (`name@version`, with its metrics and files).

    files: its parts (``path``, ``file_id``, ``bytes``, …); ``files.download`` fetches one by its ``file_id``.
    """

    name: str
    kind: str = ""
    task: str = ""
    source: str = ""
    path: str | None = None
    bytes: int | None = None
    license: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    loaded: bool = False
    created_at: datetime | None = None
    job_id: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)
    files: list[dict[str, Any]] = Field(default_factory=list)


class Message(Answer):
    """One message of a conversation. ``content`` is a text, or (of the user) a list of parts.

    status: ``pending`` until its job ends, then ``answered``, ``failed`` or ``canceled``; of a reply ``complete``, or
    ``partial`` where it was broken off.
    """

    role: str
    content: Any = None
    status: str = ""
    job_id: str | None = None
    created_at: datetime | None = None
    model: str | None = None
    provider: str | None = None
    finish_reason: str | None = None
    warnings: list[str] = Field(default_factory=list)


class Conversation(Answer):
    """A conversation that is kept. ``running_job_id``: the job that is answering; ``messages`` are there in the answer
    of ``conversations.get``, ``system`` where it was asked for."""

    id: str
    title: str | None = None
    model: str | None = None
    system: str | None = None
    message_count: int = 0
    running_job_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    messages: list[Message] = Field(default_factory=list)


class Readiness(Answer):
    """What ``/readyz`` says when the ledger answers."""

    status: str = ""
    ledger: str = ""
    version: str = ""
    ledger_layout: int | None = None
    newest_layout: int | None = None
    queues: list[Queue] = Field(default_factory=list)


class Page(Answer, Generic[T]):
    """One page of a list, newest first."""

    data: list[T]
    next_cursor: str | None = None
