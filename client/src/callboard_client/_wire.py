"""What is sent, without sending it: requests, pauses, and how an answer is read.

Nothing here does I/O. The clients drive it, one with blocking calls and one with ``await``, as httpx drives
its authentication flows; so retries, polling and the way of a `run` are written once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Generic, TypeAlias, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from callboard_client._errors import CallboardError
from callboard_client._models import Problem

T = TypeVar("T")

Params: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart body; ``file`` is read from its start each time it is sent."""

    name: str
    file: BinaryIO
    media_type: str | None
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """``repeatable``: sending it twice does no harm, so a broken connection may be answered by a retry.
    ``patience_s``: seconds the gateway may hold the answer on purpose, added to the read timeout."""

    method: str
    path: str
    params: Params = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    upload: Upload | None = None
    patience_s: float = 0
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and how its answer is read."""

    request: Request
    read: Callable[[httpx.Response], T]


Step: TypeAlias = Request | Pause
Flow: TypeAlias = Generator[Step, "httpx.Response | None", T]
"""Yields what to do next, is sent the response (or thrown the transport's error), returns the result."""


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON; NaN and lone surrogates are a ``ValueError``, as the gateway would refuse them."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def reading(model: type[T]) -> Callable[[httpx.Response], T]:
    """Reads an answer's JSON as ``model``."""

    def read(response: httpx.Response) -> T:
        try:
            value: T = _adapter(model).validate_json(response.content)
        except ValidationError as error:
            asked, why = response.request.url, error.errors()[0]["msg"]
            raise CallboardError(
                f"what answers at {asked} is no Callboard gateway; is the address right? ({why})"
            ) from error
        return value

    return read


def nothing(_: httpx.Response) -> None:
    """For answers without a body worth reading."""


def problem_of(response: httpx.Response) -> Problem:
    """The problem a refused request was answered with, also when a proxy answered in its own words."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        said = response.text.strip()[:200] or response.reason_phrase
        problem = Problem(title=response.reason_phrase, detail=said, code="http-error")
    return problem if problem.status else problem.model_copy(update={"status": response.status_code})


_adapters: dict[Any, TypeAdapter[Any]] = {}


def _adapter(model: Any) -> TypeAdapter[Any]:
    if model not in _adapters:
        _adapters[model] = TypeAdapter(model)
    return _adapters[model]
