"""The calls of ``/v1/pipelines``, as pure functions."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from callboard_client._calls import NewJob, json_request, params_of, path_of
from callboard_client._models import Page, Pipeline
from callboard_client._wire import Call, Request, nothing, reading

Steps: TypeAlias = Mapping[str, NewJob | Mapping[str, Any]]


def _path(pipeline: Pipeline | str, *more: str) -> str:
    return path_of("pipelines", pipeline if isinstance(pipeline, str) else pipeline.id, *more)


def submission(
    steps: Steps,
    webhook: str | Mapping[str, Any] | None,
    metadata: Mapping[str, str] | None,
    idempotency_key: str | None,
) -> Callable[[int], Call[Pipeline]]:
    """The call, given the seconds that the gateway may hold the answer; with one key, however often it is called."""
    jobs = {name: step.body() if isinstance(step, NewJob) else dict(step) for name, step in steps.items()}
    hook = {"url": webhook} if isinstance(webhook, str) else webhook
    given = {"steps": jobs, "webhook": hook, "metadata": metadata}
    body = {name: value for name, value in given.items() if value is not None}
    headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}

    def call(hold_s: int) -> Call[Pipeline]:
        prefer = {"prefer": f"wait={hold_s}"} if hold_s else {}
        request = json_request("POST", "/v1/pipelines", body, headers=headers | prefer, patience_s=hold_s)
        return Call(request, reading(Pipeline))

    return call


def get(pipeline: Pipeline | str, *, hold_s: int = 0) -> Call[Pipeline]:
    params = params_of(wait=hold_s or None)
    return Call(Request("GET", _path(pipeline), params, patience_s=hold_s), reading(Pipeline))


def list_page(limit: int, cursor: str | None) -> Call[Page[Pipeline]]:
    request = Request("GET", "/v1/pipelines", params_of(limit=limit, cursor=cursor))
    return Call(request, reading(Page[Pipeline]))


def cancel(pipeline: Pipeline | str) -> Call[Pipeline]:
    return Call(Request("POST", _path(pipeline, "cancel")), reading(Pipeline))


def delete(pipeline: Pipeline | str) -> Call[None]:
    return Call(Request("DELETE", _path(pipeline)), nothing)
