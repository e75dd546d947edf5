"""Every call of the HTTP interface as a pure function: arguments in, request and reader out."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, TypeAlias
from urllib.parse import quote

import httpx

from callboard_client._models import (
    File,
    Job,
    JobType,
    Key,
    Model,
    Page,
    Problem,
    Queue,
    Readiness,
    Usage,
    Worker,
)
from callboard_client._wire import Call, Params, Request, Upload, dumps, nothing, reading

When: TypeAlias = datetime | str
BATCH_JOBS = 1000
BATCH_BYTES = 6_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to submit; what is ``None`` is left to the gateway. Times must carry their zone.

    priority: −10…10, higher first. run_at: not before then. expires_in_s: not started by then → ``expired``.
    timeout_s: limit of one attempt. after: starts when those have succeeded. webhook: a URL, or
    ``{"url": …, "events": […]}``. retention_s: how long it is kept once it has ended.
    """

    type: str
    input: Mapping[str, Any]
    priority: int | None = None
    run_at: When | None = None
    expires_in_s: float | None = None
    timeout_s: float | None = None
    max_attempts: int | None = None
    after: Sequence[Job | str] | None = None
    webhook: str | Mapping[str, Any] | None = None
    metadata: Mapping[str, str] | None = None
    retention_s: float | None = None

    def body(self) -> dict[str, Any]:
        """The JSON that ``POST /v1/jobs`` takes."""
        members = {
            "type": self.type,
            "input": dict(self.input),
            "priority": self.priority,
            "run_at": None if self.run_at is None else rfc3339(self.run_at),
            "expires_in_s": self.expires_in_s,
            "timeout_s": self.timeout_s,
            "max_attempts": self.max_attempts,
            "after": None if self.after is None else [id_of(job) for job in self.after],
            "webhook": {"url": self.webhook} if isinstance(self.webhook, str) else self.webhook,
            "metadata": self.metadata,
            "retention_s": self.retention_s,
        }
        return {name: value for name, value in members.items() if value is not None}


def id_of(thing: Job | File | Key | str) -> str:
    return thing if isinstance(thing, str) else thing.id


def rfc3339(when: When) -> str:
    """A time as the gateway takes it; one without a zone is refused, since it could mean two moments."""
    if isinstance(when, str):
        return when
    if when.tzinfo is None:
        raise ValueError(f"{when!r} has no time zone; write datetime.now(UTC) or datetime(…, tzinfo=…)")
    return when.isoformat(timespec="milliseconds")


def params_of(**values: Any) -> Params:
    return tuple((name, str(value)) for name, value in values.items() if value is not None)


def path_of(*parts: str) -> str:
    return "/".join(["/v1", *(quote(part, safe=":") for part in parts)])


def json_request(method: str, path: str, body: Any, **options: Any) -> Request:
    headers = {"content-type": "application/json", **options.pop("headers", {})}
    return Request(method, path, content=dumps(body), headers=headers, **options)


# Jobs


def submit(job: NewJob, *, idempotency_key: str | None = None, hold_s: int = 0) -> Call[Job]:
    """The key makes a repeated submission harmless: the answer is then the job that is there already."""
    headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}
    if hold_s:
        headers["prefer"] = f"wait={hold_s}"
    request = json_request("POST", "/v1/jobs", job.body(), headers=headers, patience_s=hold_s)
    return Call(request, reading(Job))


def submission(job: NewJob, idempotency_key: str | None) -> Callable[[int], Call[Job]]:
    """``submit`` with one key, however often it is called."""
    key = idempotency_key or uuid.uuid4().hex
    return lambda hold_s: submit(job, idempotency_key=key, hold_s=hold_s)


def submit_batches(jobs: Iterable[NewJob | Mapping[str, Any]]) -> Iterator[Call[list[Job | Problem]]]:
    """As many calls as the gateway's limits on a body ask for; usually one."""
    chunk: list[bytes] = []
    size = 0
    for job in jobs:
        member = dumps(job.body() if isinstance(job, NewJob) else job)
        if chunk and (len(chunk) == BATCH_JOBS or size + len(member) > BATCH_BYTES):
            yield _batch(chunk)
            chunk, size = [], 0
        chunk.append(member)
        size += len(member)
    if chunk:
        yield _batch(chunk)


def _batch(members: list[bytes]) -> Call[list[Job | Problem]]:
    headers = {"content-type": "application/json", "idempotency-key": uuid.uuid4().hex}
    body = b'{"jobs":[' + b",".join(members) + b"]}"
    request = Request(
        "POST", "/v1/jobs:batch", content=body, headers=headers, patience_s=30, repeatable=False
    )
    return Call(request, _read_batch)


def _read_batch(response: httpx.Response) -> list[Job | Problem]:
    items: list[dict[str, Any]] = reading(Page[dict[str, Any]])(response).data
    return [Job.model_validate(item) if "id" in item else Problem.model_validate(item) for item in items]


def get_job(job: Job | str, *, hold_s: int = 0) -> Call[Job]:
    params = params_of(wait=hold_s or None)
    return Call(Request("GET", path_of("jobs", id_of(job)), params, patience_s=hold_s), reading(Job))


def list_jobs(
    *,
    status: str | None = None,
    type: str | None = None,
    queue: str | None = None,
    metadata: Mapping[str, str] | None = None,
    created_after: When | None = None,
    created_before: When | None = None,
    limit: int,
    cursor: str | None = None,
) -> Call[Page[Job]]:
    after = None if created_after is None else rfc3339(created_after)
    before = None if created_before is None else rfc3339(created_before)
    params = params_of(
        status=status, type=type, queue=queue, created_after=after, created_before=before,
        limit=limit, cursor=cursor,
    )  # fmt: skip
    params += tuple((f"metadata.{name}", value) for name, value in (metadata or {}).items())
    return Call(Request("GET", "/v1/jobs", params), reading(Page[Job]))


def cancel_job(job: Job | str) -> Call[Job]:
    return Call(Request("POST", path_of("jobs", id_of(job), "cancel")), reading(Job))


def retry_job(job: Job | str, idempotency_key: str | None) -> Call[Job]:
    headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}
    return Call(Request("POST", path_of("jobs", id_of(job), "retry"), headers=headers), reading(Job))


def delete_job(job: Job | str) -> Call[None]:
    return Call(Request("DELETE", path_of("jobs", id_of(job))), nothing)


def job_events(job: Job | str, last_id: str | None) -> Request:
    return _stream(path_of("jobs", id_of(job), "events"), (), last_id)


def key_events(
    kind: str | None, type: str | None, queue: str | None, status: str | None, last_id: str | None
) -> Request:
    return _stream("/v1/events", params_of(event=kind, type=type, queue=queue, status=status), last_id)


def _stream(path: str, params: Params, last_id: str | None) -> Request:
    headers = {"accept": "text/event-stream", "cache-control": "no-store"}
    if last_id:
        headers["last-event-id"] = last_id
    return Request("GET", path, params, headers=headers)


# Files


def upload_file(file: BinaryIO, name: str, media_type: str | None, purpose: str | None) -> Call[File]:
    fields = {"purpose": purpose} if purpose else {}
    upload = Upload(name, file, media_type, fields)
    return Call(Request("POST", "/v1/files", upload=upload, patience_s=60, repeatable=False), reading(File))


def get_file(file: File | str) -> Call[File]:
    return Call(Request("GET", path_of("files", id_of(file))), reading(File))


def file_content(file: File | str, start: int = 0) -> Request:
    headers = {"range": f"bytes={start}-"} if start else {}
    return Request("GET", path_of("files", id_of(file), "content"), headers=headers)


def read_content(file: File | str) -> Call[bytes]:
    return Call(file_content(file), lambda response: response.content)


def list_files(limit: int, cursor: str | None) -> Call[Page[File]]:
    return Call(Request("GET", "/v1/files", params_of(limit=limit, cursor=cursor)), reading(Page[File]))


def delete_file(file: File | str) -> Call[None]:
    return Call(Request("DELETE", path_of("files", id_of(file))), nothing)


# Models


def list_models(limit: int, cursor: str | None) -> Call[Page[Model]]:
    return Call(Request("GET", "/v1/models", params_of(limit=limit, cursor=cursor)), reading(Page[Model]))


def get_model(model: Model | str) -> Call[Model]:
    return Call(Request("GET", path_of("models", _name_of(model))), reading(Model))


def delete_model(model: Model | str) -> Call[None]:
    return Call(Request("DELETE", path_of("models", _name_of(model))), nothing)


def _name_of(model: Model | str) -> str:
    return model if isinstance(model, str) else model.name


# What there is, and how it does


def job_types() -> Call[list[JobType]]:
    return Call(Request("GET", "/v1/job-types"), lambda response: reading(Page[JobType])(response).data)


def job_type(name: str) -> Call[JobType]:
    return Call(Request("GET", path_of("job-types", name)), reading(JobType))


def queues() -> Call[list[Queue]]:
    return Call(Request("GET", "/v1/queues"), lambda response: reading(Page[Queue])(response).data)


def pause_queue(name: str) -> Call[None]:
    return Call(Request("POST", path_of("queues", name, "pause")), nothing)


def resume_queue(name: str) -> Call[None]:
    return Call(Request("POST", path_of("queues", name, "resume")), nothing)


def workers() -> Call[list[Worker]]:
    return Call(Request("GET", "/v1/workers"), lambda response: reading(Page[Worker])(response).data)


def usage(by: str) -> Call[list[Usage]]:
    request = Request("GET", "/v1/usage", params_of(by=by))
    return Call(request, lambda response: reading(Page[Usage])(response).data)


def ready() -> Call[Readiness]:
    return Call(Request("GET", "/readyz"), reading(Readiness))


# Keys


def create_key(
    name: str, scopes: Sequence[str], expires_at: When | None, limits: Mapping[str, Any] | None
) -> Call[Key]:
    body: dict[str, Any] = {"name": name, "scopes": list(scopes)}
    if expires_at is not None:
        body["expires_at"] = rfc3339(expires_at)
    if limits is not None:
        body["limits"] = dict(limits)
    return Call(json_request("POST", "/v1/keys", body, repeatable=False), reading(Key))


def list_keys(limit: int, cursor: str | None) -> Call[Page[Key]]:
    return Call(Request("GET", "/v1/keys", params_of(limit=limit, cursor=cursor)), reading(Page[Key]))


def change_key(key: Key | str, changes: Mapping[str, Any]) -> Call[Key]:
    body = {
        name: rfc3339(value) if name == "expires_at" and value else value for name, value in changes.items()
    }
    return Call(json_request("PATCH", path_of("keys", id_of(key)), body), reading(Key))


def rotate_key(key: Key | str, grace_s: int) -> Call[Key]:
    request = json_request(
        "POST", path_of("keys", id_of(key), "rotate"), {"grace_s": grace_s}, repeatable=False
    )
    return Call(request, reading(Key))


def delete_key(key: Key | str) -> Call[None]:
    return Call(Request("DELETE", path_of("keys", id_of(key))), nothing)
