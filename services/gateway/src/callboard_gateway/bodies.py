"""Reading a request's JSON: counted as it arrives, parsed once, with an answer for what is not JSON."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from callboard_gateway.problems import field_errors
from callboard_shared.errors import Invalid, Malformed, TooLarge, UnsupportedMedia
from callboard_shared.jobs import UNION_TAGS

M = TypeVar("M", bound=BaseModel)

MAX_DEPTH = 100
"""Objects and lists within each other; orjson writes 254 at most, and a job wraps its input twice."""


class NotJson:
    """Stands for NaN or Infinity, which JSON has not, until the field that holds it can be named."""

    def __init__(self, text: str) -> None:
        self.text = text


def header(scope: Scope, name: bytes) -> str | None:
    """One header of the request, by its lower-case name, without building all of them."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def require_json(scope: Scope) -> None:
    """415 unless the request says that it brings JSON."""
    media_type = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not re.fullmatch(r"application/[\w.-]+\+json", media_type):
        said = f"{media_type!r}" if media_type else "none"
        raise UnsupportedMedia(
            f"Send the body with Content-Type: application/json; this request says {said}."
        )


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body; 413 as soon as it is known to exceed ``limit`` bytes, without reading on."""
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        return body
    chunks: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {limit:,} bytes. Upload large inputs as files (POST /v1/files)."
    )


def parse_json(body: bytes) -> Any:
    """The document. NaN and Infinity become ``NotJson``, lone surrogates stay: ``compact`` names their field.

    Raises Malformed (400) for what is not JSON, or nested too deeply.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        reason = error
    try:
        return json.loads(body, parse_constant=NotJson, parse_float=_float)
    except (ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError) or "depth" in str(reason)
        detail = "It is nested too deeply." if deep else f"{reason}."
        raise Malformed(f"The body is not JSON that can be read: {detail}") from None


def _float(text: str) -> Any:
    number = float(text)
    return number if number - number == 0 else NotJson(text)


def compact(value: Any, field: str) -> bytes:
    """``value`` as compact JSON in UTF-8; 422 naming the field below ``field`` that has no place in JSON,
    400 when it is nested more than MAX_DEPTH deep."""
    try:
        return orjson.dumps(value)
    except TypeError:
        pass
    path, why = _first_unfit(value, field)
    raise Invalid(
        "The request holds a value that JSON does not have.",
        errors=[{"field": path, "message": why, "code": "not-json"}],
    )


def check_depth(value: Any) -> None:
    """400 for lists and objects nested more than MAX_DEPTH deep; walks level by level, so it cannot overflow."""
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if type(item) is dict:
                below += [v for v in item.values() if type(v) is dict or type(v) is list]
            elif type(item) is list:
                below += [v for v in item if type(v) is dict or type(v) is list]
        if not below:
            return
        level = below
    raise Malformed(f"The body is nested more than {MAX_DEPTH} deep.")


def _first_unfit(value: Any, field: str) -> tuple[str, str]:
    stack: list[tuple[str, Any]] = [(field, value)]
    while stack:
        path, item = stack.pop()
        if isinstance(item, NotJson):
            return path, f"{item.text} is not a number in JSON"
        if isinstance(item, str) and not _is_unicode(item):
            return path, "the text holds a lone surrogate, which is not a character"
        if isinstance(item, dict):
            for key, below in item.items():
                if not _is_unicode(key):
                    return path, "a name holds a lone surrogate, which is not a character"
                stack.append((f"{path}.{key}", below))
        elif isinstance(item, list):
            stack += [(f"{path}.{index}", below) for index, below in enumerate(item)]
        elif isinstance(item, int) and not -(2**63) <= item < 2**64:
            return path, "the whole number does not fit into 64 bits"
    return field, "the value cannot be written as JSON"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def validate(model: type[M], document: Any) -> M:
    """``document`` (as parsed) as a ``model``; 422 with the fields at fault."""
    if not isinstance(document, dict):
        raise Invalid("The body must be a JSON object.")
    check_depth(document)
    text = compact(document, "body")
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise Invalid(
            "The request is not valid; errors names the fields.",
            errors=field_errors(
                error.errors(include_url=False, include_context=False, include_input=False), hide=UNION_TAGS
            ),
        ) from None


async def read_model(scope: Scope, receive: Receive, limit: int, model: type[M]) -> M:
    """The JSON body of the request as a ``model``."""
    require_json(scope)
    return validate(model, parse_json(await read_body(scope, receive, limit)))
