"""What can go wrong, as the caller sees it.

CallboardError
├── ConfigError             the address or the key makes no sense; nothing was sent
├── ConnectionFailed        the gateway could not be reached, or broke off (after the retries)
├── ApiError                the gateway refused: ``code``, ``detail``, ``status``, ``retryable``, …
│   ├── Unauthorized (401) · Forbidden (403) · NotFound (404) · Conflict (409) · TooLarge (413)
│   ├── Invalid (422)       ``errors`` names the fields
│   └── RateLimited (429) · Unavailable (503)
├── WebhookNotVerified      what came is not signed by a secret of ours, or long ago
├── JobFailed               a job that was waited for ended, but not well: ``job``, ``code``, ``detail``
├── PipelineFailed          a pipeline ended badly: ``pipeline``
└── WaitTimeout             the caller's patience ran out; the job goes on: ``job``
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from callboard_client._models import Batch, FieldError, Job, Pipeline, Problem


class CallboardError(Exception):
    """Root of everything this package raises on purpose; the message is a sentence for a person."""


class ConfigError(CallboardError):
    """The address or the key makes no sense, so nothing was sent."""


class ConnectionFailed(CallboardError):
    """The gateway could not be reached, also not after the retries."""


class WebhookNotVerified(CallboardError):
    """A webhook whose signature is not by a secret of ours, or whose time is not now. Answer it with 401."""


class ApiError(CallboardError):
    """The gateway's answer was a problem (RFC 9457). Branch on ``code``, show ``detail``."""

    by_status: ClassVar[dict[int, type[ApiError]]] = {}

    def __init_subclass__(cls, *, status: int | None = None) -> None:
        if status is not None:
            ApiError.by_status[status] = cls

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))

    @classmethod
    def of(cls, problem: Problem) -> ApiError:
        return cls.by_status.get(problem.status, ApiError)(problem)

    @property
    def code(self) -> str:
        return self.problem.code

    @property
    def detail(self) -> str:
        return self.problem.detail

    @property
    def status(self) -> int:
        return self.problem.status

    @property
    def retryable(self) -> bool:
        return self.problem.retryable

    @property
    def errors(self) -> list[FieldError]:
        return self.problem.errors

    @property
    def trace_id(self) -> str | None:
        return self.problem.trace_id


class Unauthorized(ApiError, status=401):
    """The key is missing, unknown or revoked."""


class Forbidden(ApiError, status=403):
    """The key lacks the scope."""


class NotFound(ApiError, status=404):
    """There is no such thing, or it belongs to another key."""


class Conflict(ApiError, status=409):
    """The state of the thing does not allow it."""


class TooLarge(ApiError, status=413):
    """The body is over the gateway's limit."""


class Invalid(ApiError, status=422):
    """The input is not what the job type takes; ``errors`` names the fields."""


class RateLimited(ApiError, status=429):
    """A limit of the key is reached."""


class Unavailable(ApiError, status=503):
    """The ledger is away or full."""


class JobFailed(CallboardError):
    """The job ended ``failed``, ``canceled`` or ``expired``; ``problem`` says why, where the job has one."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.problem: Problem | None = job.error
        because = f": {job.error}" if job.error else ""
        super().__init__(f"job {job.id} ({job.type}) ended {job.status}{because}")

    @property
    def code(self) -> str:
        return self.problem.code if self.problem else self.job.status

    @property
    def detail(self) -> str:
        return self.problem.detail if self.problem else f"The job ended {self.job.status}."

    @property
    def retryable(self) -> bool:
        return bool(self.problem and self.problem.retryable)


class PipelineFailed(CallboardError):
    """The pipeline ended ``failed`` or ``canceled``; ``problem`` says which step failed, and why."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.problem: Problem | None = pipeline.error
        because = f": {pipeline.error}" if pipeline.error else ""
        super().__init__(f"pipeline {pipeline.id} ended {pipeline.status}{because}")


class WaitTimeout(CallboardError):
    """The job (pipeline, batch) has not ended within the time given for waiting. It goes on; one may wait again."""

    def __init__(self, job: Job | Pipeline | Batch, waited_s: float) -> None:
        self.job = job
        kind, waiting_for = type(job).__name__.lower(), getattr(job, "waiting_for", None)
        why = f" ({waiting_for})" if waiting_for else ""
        super().__init__(f"{kind} {job.id} is still {job.status} after {waited_s:g} s{why}; it goes on")
