"""Errors of the facade's routes, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from callboard_shared.openai.errors import error_body, status_of

PREFIX = "/openai/"

_AGAIN = frozenset({408, 409, 429, 500, 502, 503, 504})
"""Statuses at which OpenAI's libraries try again, unless they are told not to."""


def openai_error(problem: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    status = status_of(problem)
    more = dict(headers or {})
    if status in _AGAIN and not problem.get("retryable"):
        more["x-should-retry"] = "false"
    return Response(orjson.dumps(error_body(problem)), status, more, "application/json")
