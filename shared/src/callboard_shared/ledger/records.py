"""What the verbs take and give: plain frozen records. All times are milliseconds of the ledger's clock (epoch)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from callboard_shared.errors import RequestError
from callboard_shared.jobs.base import Task
from callboard_shared.states import JobStatus


@dataclass(frozen=True, slots=True)
class Named:
    """Something that a job's input names in ``field`` and that must be there: a model (fit for one of ``tasks``), a
    file, or a file that holds a picture or a video."""

    kind: Literal["model", "file", "picture", "video"]
    field: str
    value: str
    tasks: tuple[Task, ...] = ()


@dataclass(frozen=True, slots=True)
class Saying:
    """A message that joins a conversation together with the job that answers it.

    body: JSON object ``{"content"}``; title: the conversation's if it has none yet; replaces: the ended job whose
    message this is, said anew.
    """

    conversation: str
    body: bytes
    title: str = ""
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to submit.

    spec: JSON object ``{"input", "metadata", "webhook"?, "after"?, "retried_from"?, "traceparent"?, "pipeline"?}``;
    hook: its own webhook, as ``callboard_shared.webhooks.hook`` writes it; names: what is to be looked up before the
    submission; says: what it is to answer, and where; pipeline: the one of which it is a step; group: the
    batch of which it is a line; label: what its owner calls that line.
    """

    id: str
    type: str
    queue: str
    owner: str
    spec: bytes
    priority: int = 0
    run_at_ms: int | None = None
    expires_in_ms: int | None = None
    timeout_ms: int = 300_000
    max_attempts: int = 3
    retention_ms: int = 604_800_000
    batch_key: str = ""
    weight: int = 1
    hook: str = ""
    after: tuple[str, ...] = ()
    watcher: str = ""
    names: tuple[Named, ...] = ()
    says: Saying | None = None
    pipeline: str = ""
    group: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Filled:
    """What a step of a pipeline starts with, now that all it waited for has succeeded. expires_in_ms: from then on;
    room: turns and bytes that the conversation may hold in which it says something."""

    spec: bytes
    batch_key: str
    weight: int
    expires_in_ms: int | None = None
    says: Saying | None = None
    room: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Submitted:
    id: str
    status: JobStatus
    created_ms: int
    position: int | None
    eta_ms: int | None
    workers: int
    existed: bool
    paused: bool = False


@dataclass(frozen=True, slots=True)
class SubmitReply:
    """One result a job, in order; ``ring``: a bell must be rung for the queue."""

    results: list[Submitted | RequestError]
    ring: bool


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    id: str
    type: str
    owner: str
    attempt: int
    max_attempts: int
    timeout_ms: int
    created_ms: int
    batch_key: str
    spec: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """``ready``: jobs still ready behind these."""

    jobs: list[ClaimedJob]
    ready: int
    ring: bool


Outcome = Literal["succeeded", "failed", "canceled", "retry", "release"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended. JSON bytes; ``delay_ms`` is for ``retry``; ``files``: ids that go with the job; ``reply``:
    the next turn of the conversation in which the job speaks."""

    id: str
    attempt: int
    outcome: Outcome
    output: bytes = b""
    error: bytes = b""
    usage: bytes = b"{}"
    tokens: int = 0
    characters: int = 0
    files: tuple[str, ...] = ()
    delay_ms: int = 0
    reply: bytes = b""


@dataclass(frozen=True, slots=True)
class FinishReply:
    """Per job ``committed`` or ``stale`` (the claim was no longer this runner's; nothing changed)."""

    results: list[str]
    ring: bool


@dataclass(frozen=True, slots=True)
class JobRecord:
    """Everything the ledger knows of a job; ``error``, ``progress``, ``usage``, ``output`` are JSON."""

    id: str
    type: str
    queue: str
    owner: str
    status: JobStatus
    created_ms: int
    spec: bytes
    priority: int = 0
    attempt: int = 0
    max_attempts: int = 3
    timeout_ms: int = 300_000
    retention_ms: int = 604_800_000
    scheduled_ms: int | None = None
    started_ms: int | None = None
    claimed_ms: int | None = None
    finished_ms: int | None = None
    expires_ms: int | None = None
    worker: str | None = None
    output: bytes | None = None
    error: bytes | None = None
    progress: bytes | None = None
    usage: bytes | None = None
    files: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    position: int | None = None
    eta_ms: int | None = None
    workers: int = 0
    paused: bool = False

    @classmethod
    def submitted(cls, new: NewJob, result: Submitted) -> JobRecord:
        """The record as it is right after submit, without asking the ledger again."""
        expires = None
        if new.expires_in_ms is not None:
            expires = max(result.created_ms, new.run_at_ms or 0) + new.expires_in_ms
        return cls(
            id=new.id, type=new.type, queue=new.queue, owner=new.owner, status=result.status,
            created_ms=result.created_ms, spec=new.spec, priority=new.priority, max_attempts=new.max_attempts,
            timeout_ms=new.timeout_ms, retention_ms=new.retention_ms,
            scheduled_ms=new.run_at_ms if result.status is JobStatus.SCHEDULED else None,
            expires_ms=expires, waits=new.after, position=result.position, eta_ms=result.eta_ms,
            workers=result.workers, paused=result.paused,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    kind: str
    data: bytes


@dataclass(frozen=True, slots=True)
class QueueStats:
    name: str
    ready: int
    running: int
    scheduled: int
    blocked: int
    workers: int
    slots: int
    oldest_wait_ms: int
    rate_per_s: float
    paused: bool
    stale_commits: int
    ring: bool = False


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """``facts``: what the worker sees around it, see ``callboard_shared.worker.surroundings``."""

    id: str
    queue: str
    host: str
    pid: int
    slots: int
    started_ms: int
    running: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    note: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one pass over a queue did; ``more``: the limit left something to do; ``settle``: rows
    "id outcome queue id"; ``blocked``: to look at again; ``steps``: rows "pipeline id" of ended jobs past their
    retention, which are kept until their pipeline has ended."""

    ring: bool
    more: bool
    due: int
    lapsed: int
    expired: int
    forgotten: int
    files: list[str]
    settle: list[str]
    blocked: list[str]
    steps: list[str]


@dataclass(frozen=True, slots=True)
class UsageRow:
    queue: str
    day: str
    type: str
    figures: dict[str, int]
