"""JSON that comes from users: parsed with an answer for what is not JSON, and written with one for what cannot be."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from callboard_shared.errors import Invalid, Malformed, field_errors
from callboard_shared.jobs import UNION_TAGS

M = TypeVar("M", bound=BaseModel)

MAX_DEPTH = 100
"""Objects and lists within each other; orjson writes 254 at most, and a job wraps its input twice."""


class NotJson:
    """Stands for NaN or Infinity, which JSON has not, until the field that holds it can be named."""

    def __init__(self, text: str) -> None:
        self.text = text


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
