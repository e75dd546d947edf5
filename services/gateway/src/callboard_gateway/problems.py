"""Every error leaves as ``application/problem+json`` (RFC 9457), whatever raised it."""

from __future__ import annotations

import http
import math
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from callboard_gateway.facade.errors import PREFIX as OPENAI
from callboard_gateway.facade.errors import openai_error
from callboard_shared.errors import CallboardError, field_errors

MEDIA_TYPE = "application/problem+json"

_CODES = {
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    409: "conflict",
    413: "too-large",
    415: "unsupported-media-type",
    422: "validation",
    429: "rate-limited",
}


def problem_response(
    request: Request, body: dict[str, Any], headers: dict[str, str] | None = None
) -> Response:
    """``body`` with what depends on the request: ``instance`` (the path) and ``trace_id``."""
    if request.scope["path"].startswith(OPENAI):
        return openai_error(body, headers)
    body["instance"] = request.scope["path"]
    body["trace_id"] = request.scope.get("callboard.trace_id", "")
    # A path may hold what is not UTF-8 and a message may quote the caller's text: never fail on answering.
    try:
        content = orjson.dumps(body)
    except TypeError:
        body = {key: value for key, value in body.items() if key not in ("instance", "errors")}
        content = orjson.dumps(body, default=repr)
    return Response(content, status_code=body["status"], media_type=MEDIA_TYPE, headers=headers)


def error_response(request: Request, error: CallboardError) -> Response:
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    elif error.status in (429, 503):
        headers["Retry-After"] = "1"
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == 413:
        headers["Connection"] = "close"  # the rest of the body is not read
    return problem_response(request, error.problem(), headers)


def plain_problem(status: int, code: str, detail: str) -> dict[str, Any]:
    return {
        "type": f"urn:callboard:problem:{code}",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": status >= 500,
    }


def internal_problem() -> dict[str, Any]:
    """What a bug looks like from outside: nothing of its cause, which may hold a secret."""
    return plain_problem(500, "internal", "Something went wrong here; the log has it under this trace_id.")


async def _on_callboard_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, CallboardError)
    return error_response(request, error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    detail = str(error.detail)
    if error.status_code == 404 and detail == "Not Found":
        detail = "Nothing is at this path; see /docs for those there are."
    if error.status_code == 405:
        allowed = allowed_methods(request)
        headers["Allow"] = ", ".join(allowed)
        detail = f"This path takes {', '.join(allowed)}, not {request.method}."
    code = _CODES.get(error.status_code, http.HTTPStatus(error.status_code).phrase.lower().replace(" ", "-"))
    return problem_response(request, plain_problem(error.status_code, code, detail), headers)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    body = plain_problem(422, "validation", "A parameter is not valid; errors names it.")
    body["errors"] = field_errors(list(error.errors()), skip=1)  # the first part says query, path or header
    return problem_response(request, body)


def allowed_methods(request: Request) -> list[str]:
    """Methods that this path takes (the router itself knows only of the first route that matched)."""
    return [
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
        if any(
            route.matches({**request.scope, "method": method})[0] == Match.FULL
            for route in request.app.routes
        )
    ]


def install(app: FastAPI) -> None:
    app.add_exception_handler(CallboardError, _on_callboard_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
