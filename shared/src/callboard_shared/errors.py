"""The error tree. Every error has a stable ``code``, says whether trying again may help, and what to do.

    CallboardError
    ├── RequestError            the caller's doing; the gateway answers with ``status``
    │   ├── Invalid (422) · Unauthorized (401) · Forbidden (403) · NotFound (404) · Conflict (409)
    │   └── TooLarge (413) · UnsupportedMedia (415) · LimitReached (429)
    ├── LedgerError (503)       the ledger is away, or full
    │   ├── LedgerUnavailable
    │   ├── LedgerFull
    │   └── LedgerNewer
    └── JobError                what a handler raises; ends the attempt
        ├── RetryableError      tried again while attempts are left
        └── FinalError          ends the job

A handler's other exceptions are final with code ``handler-error``: a bug does not go away by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class CallboardError(Exception):
    """``detail`` is the sentence a person reads: what is wrong, why, and what to do about it. ``members`` are what
    the problem says besides (RFC 9457, 3.2)."""

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: list[dict[str, Any]] | None = None,
        retry_after_s: float | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problem_code = code or self.code
        self.errors = errors
        self.retry_after_s = retry_after_s
        self.members = members or {}

    def problem(self) -> dict[str, Any]:
        """The members of an RFC 9457 problem that do not depend on the request."""
        body: dict[str, Any] = {
            "type": f"urn:callboard:problem:{self.problem_code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.problem_code,
            "retryable": self.retryable,
        }
        if self.errors is not None:
            body["errors"] = self.errors
        return body | dict(self.members)


class RequestError(CallboardError):
    code = "bad-request"
    title = "The request is not right"
    status = 400


class Malformed(RequestError):
    code = "malformed"
    title = "The body could not be read"


class Unauthorized(RequestError):
    code = "unauthorized"
    title = "A valid API key is needed"
    status = 401


class Forbidden(RequestError):
    code = "forbidden"
    title = "The key lacks a scope"
    status = 403


class NotFound(RequestError):
    code = "not-found"
    title = "There is no such thing"
    status = 404


class Conflict(RequestError):
    code = "conflict"
    title = "The state does not allow it"
    status = 409


class TooLarge(RequestError):
    code = "too-large"
    title = "The body is too large"
    status = 413


class UnsupportedMedia(RequestError):
    code = "unsupported-media-type"
    title = "The content is of the wrong kind"
    status = 415


class Invalid(RequestError):
    code = "validation"
    title = "The request is not valid"
    status = 422


class LimitReached(RequestError):
    code = "rate-limited"
    title = "A limit is reached"
    status = 429
    retryable = True


class LedgerError(CallboardError):
    code = "ledger-unavailable"
    title = "The ledger cannot take it"
    status = 503
    retryable = True


class LedgerUnavailable(LedgerError):
    """The ledger does not answer. Try again shortly; what was under way may have been carried out."""


class LedgerFull(LedgerError):
    """The ledger has no memory left for new jobs; accepted ones go on. Try again when some have ended."""

    code = "queue-full"
    title = "The ledger is full"


class LedgerNewer(LedgerError):
    """The ledger's data are of a version that this code does not know. Start a newer Callboard."""

    code = "ledger-newer"
    title = "The ledger is newer than this Callboard"
    retryable = False


class JobError(CallboardError):
    code = "job-failed"
    title = "The job failed"


class RetryableError(JobError):
    retryable = True


class FinalError(JobError):
    retryable = False


def field_errors(
    errors: list[Any], *, skip: int = 0, hide: frozenset[str] = frozenset()
) -> list[dict[str, str]]:
    """Pydantic's list of errors as ``[{"field", "message", "code"}]``; ``skip`` drops leading path parts, ``hide``
    those that are no part of the document (the tags of a union)."""
    return [
        {
            "field": ".".join(str(part) for part in error["loc"][skip:] if part not in hide) or "body",
            "message": error["msg"].removeprefix("Value error, "),
            "code": error["type"],
        }
        for error in errors[:100]
    ]
