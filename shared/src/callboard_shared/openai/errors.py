"""Errors in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``, with its names of fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from callboard_shared.errors import Invalid

Names = Mapping[str, str]
"""What a field of our input is called in OpenAI's, where that differs."""

_INDEX = re.compile(r"\.(\d+)(?=\.|$)")
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {
    "unauthorized": "invalid_api_key",
    "unknown-model": "model_not_found",
    "rate-limited": "rate_limit_exceeded",
    "queue-full": "rate_limit_exceeded",
    "budget-exhausted": "insufficient_quota",
    "validation": "invalid_value",
    "provider-refused": "content_filter",
    "provider-rate-limited": "rate_limit_exceeded",
}
_STATUSES = {
    "unknown-model": 404, "provider-invalid": 400, "provider-refused": 400, "provider-rate-limited": 429,
    "provider-unavailable": 503, "provider-timeout": 504, "timeout": 504, "expired": 503, "text-too-long": 400,
    "language-not-supported": 400, "not-an-encoder": 400, "unsupported-format": 400, "file-not-found": 400,
    "url-not-allowed": 400, "url-blocked": 400, "fetch-failed": 400, "fetch-timeout": 400, "fetch-too-large": 400,
}  # fmt: skip
"""By a problem's code, where its own status is not what OpenAI's clients expect."""


def status_of(problem: Mapping[str, Any]) -> int:
    status = _STATUSES.get(str(problem.get("code")), int(problem.get("status", 500)))
    return 400 if status in (415, 422) else status


def error_body(problem: Mapping[str, Any]) -> dict[str, Any]:
    """An RFC 9457 problem as OpenAI would say it."""
    status, code = status_of(problem), str(problem.get("code", "internal"))
    faults = problem.get("errors") or []
    message = str(problem.get("detail", ""))
    if len(faults) > 1:
        message += " " + " ".join(f"{fault['field']}: {fault['message']}." for fault in faults[:10])
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {
        "error": {
            "message": message,
            "type": kind,
            "param": faults[0]["field"] if faults else None,
            "code": _CODES.get(code, code.replace("-", "_")),
        }
    }


def renamed(error: Invalid, names: Names) -> Invalid:
    """``input.texts.0`` is ``input[0]`` to the caller of embeddings."""
    faults = [{**fault, "field": _field(str(fault["field"]), names)} for fault in error.errors or ()]
    detail = f"{faults[0]['field']}: {faults[0]['message']}." if faults else error.detail
    return Invalid(detail, code=error.problem_code, errors=faults or None)


def _field(path: str, names: Names) -> str:
    first, _, rest = path.removeprefix("input.").partition(".")
    return _INDEX.sub(r"[\1]", ".".join(filter(None, (names.get(first, first), rest))))
