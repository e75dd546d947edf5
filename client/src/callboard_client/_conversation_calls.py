"""The calls of ``/v1/conversations``, as pure functions."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from callboard_client._calls import json_request, params_of, path_of
from callboard_client._models import Conversation, Job, Message, Page
from callboard_client._wire import Call, Request, nothing, reading

Content: TypeAlias = str | Sequence[Mapping[str, Any]]


def id_of(conversation: Conversation | str) -> str:
    return conversation if isinstance(conversation, str) else conversation.id


def _path(conversation: Conversation | str, *more: str) -> str:
    return path_of("conversations", id_of(conversation), *more)


def create(title: str | None, system: str | None, model: str | None) -> Call[Conversation]:
    given = {"title": title, "system": system, "model": model}
    body = {name: value for name, value in given.items() if value is not None}
    return Call(json_request("POST", "/v1/conversations", body, repeatable=False), reading(Conversation))


def list_page(q: str | None, limit: int, cursor: str | None) -> Call[Page[Conversation]]:
    request = Request("GET", "/v1/conversations", params_of(q=q, limit=limit, cursor=cursor))
    return Call(request, reading(Page[Conversation]))


def get(conversation: Conversation | str, include_system: bool) -> Call[Conversation]:
    return Call(Request("GET", _path(conversation), _with_system(include_system)), reading(Conversation))


def update(conversation: Conversation | str, changes: Mapping[str, str | None]) -> Call[Conversation]:
    return Call(json_request("PATCH", _path(conversation), dict(changes)), reading(Conversation))


def delete(conversation: Conversation | str) -> Call[None]:
    return Call(Request("DELETE", _path(conversation)), nothing)


def message(
    conversation: Conversation | str,
    content: Content,
    options: Mapping[str, Any],
    idempotency_key: str | None,
) -> Callable[[int], Call[Job]]:
    """The call, given the seconds that the gateway may hold the answer."""
    body = {"content": content, **{name: value for name, value in options.items() if value is not None}}
    headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}

    def call(hold_s: int) -> Call[Job]:
        prefer = {"prefer": f"wait={hold_s}"} if hold_s else {}
        path = _path(conversation, "messages")
        return Call(
            json_request("POST", path, body, headers=headers | prefer, patience_s=hold_s), reading(Job)
        )

    return call


def messages(
    conversation: Conversation | str, include_system: bool, limit: int, cursor: str | None
) -> Call[Page[Message]]:
    params = params_of(limit=limit, cursor=cursor) + _with_system(include_system)
    return Call(Request("GET", _path(conversation, "messages"), params), reading(Page[Message]))


def export(conversation: Conversation | str, format: str, include_system: bool) -> Call[str]:
    params = params_of(format=format) + _with_system(include_system)
    return Call(Request("GET", _path(conversation, "export"), params), lambda response: response.text)


def _with_system(wanted: bool) -> tuple[tuple[str, str], ...]:
    return (("include_system", "true"),) if wanted else ()
