"""The calls of ``/v1/batches``, as pure functions, and jobs as the lines of a file."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from callboard_client._calls import NewJob, json_request, params_of, path_of
from callboard_client._models import Batch, BatchResult, File, Page
from callboard_client._wire import Call, Request, nothing, reading

Jobs: TypeAlias = str | PathLike[str] | File | Iterable[NewJob | Mapping[str, Any]]
"""A path of a JSONL file, a file that was uploaded, or jobs one after another."""

_IN_MEMORY = 8 * 1024 * 1024
PURPOSE = "batch"


def path(batch: Batch | str, *more: str) -> str:
    return path_of("batches", batch if isinstance(batch, str) else batch.id, *more)


@contextmanager
def opened(jobs: Jobs) -> Iterator[tuple[BinaryIO, str]]:
    """What is to be uploaded, and its name; written as it is asked for, and larger ones to the disk."""
    if isinstance(jobs, str | PathLike):
        where = Path(jobs)
        with where.open("rb") as file:
            yield file, where.name
        return
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as lines:
        for job in cast("Iterable[NewJob | Mapping[str, Any]]", jobs):
            body = job.body() if isinstance(job, NewJob) else dict(job)
            lines.write(json.dumps(body, ensure_ascii=False).encode() + b"\n")
        lines.seek(0)
        yield cast("BinaryIO", lines), "batch.jsonl"


def submission(
    file: File,
    webhook: str | Mapping[str, Any] | None,
    metadata: Mapping[str, str] | None,
    idempotency_key: str | None,
) -> Call[Batch]:
    hook = {"url": webhook} if isinstance(webhook, str) else webhook
    given = {"file_id": file.id, "webhook": hook, "metadata": metadata}
    body = {name: value for name, value in given.items() if value is not None}
    headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}
    return Call(json_request("POST", "/v1/batches", body, headers=headers), reading(Batch))


def get(batch: Batch | str, *, hold_s: int = 0) -> Call[Batch]:
    return Call(
        Request("GET", path(batch), params_of(wait=hold_s or None), patience_s=hold_s), reading(Batch)
    )


def list_page(limit: int, cursor: str | None) -> Call[Page[Batch]]:
    return Call(Request("GET", "/v1/batches", params_of(limit=limit, cursor=cursor)), reading(Page[Batch]))


def cancel(batch: Batch | str) -> Call[Batch]:
    return Call(Request("POST", path(batch, "cancel")), reading(Batch))


def retry(batch: Batch | str, idempotency_key: str | None) -> Call[Batch]:
    headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}
    return Call(Request("POST", path(batch, "retry"), headers=headers), reading(Batch))


def delete(batch: Batch | str) -> Call[None]:
    return Call(Request("DELETE", path(batch)), nothing)


def results_in(file: BinaryIO) -> Iterator[BatchResult]:
    for line in file:
        yield BatchResult.model_validate_json(line)
