"""What went wrong, in words for a reader: keys of the dictionaries, by the stable codes of errors and of jobs."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from callboard_shared.errors import CallboardError, LedgerError
from callboard_shared.ledger import JobRecord
from callboard_shared.states import JobStatus

_OF_JOBS = {
    "provider-unavailable": "chat_fault_unavailable",
    "provider-timeout": "chat_fault_timeout",
    "provider-rate-limited": "chat_fault_busy",
    "provider-unauthorized": "chat_fault_key",
    "provider-refused": "chat_fault_refused",
    "provider-invalid": "chat_fault_invalid",
    "language-not-supported": "chat_fault_language",
    "worker_lost": "chat_fault_worker",
}
_OF_REQUESTS = {
    "conversation-busy": "chat_busy",
    "conversation-full": "chat_full",
    "message-too-old": "chat_too_old",
    "too-many-conversations": "chat_too_many",
    "queue-full": "chat_limit",
    "budget-exhausted": "chat_limit",
    "rate-limited": "chat_limit",
    "csrf": "chat_stale",
    "not-found": "chat_gone",
    "unknown-conversation": "chat_gone",
    "too-large": "chat_too_large",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """``text`` is a key of the dictionaries; ``detail`` what the service said, in English."""

    text: str
    detail: str = ""


def of_job(record: JobRecord | None, status: str = "failed") -> Fault:
    """Why a job gave nothing. ``status``: as the conversation remembers it, when the job's record is gone."""
    if status == "canceled" or (record is not None and record.status is JobStatus.CANCELED):
        return Fault("chat_fault_canceled")
    if record is not None and record.status is JobStatus.EXPIRED:
        return Fault("chat_fault_expired")
    if record is None or not record.error:
        return Fault("chat_fault")
    error = orjson.loads(record.error)
    return Fault(_OF_JOBS.get(error.get("code", ""), "chat_fault"), str(error.get("detail") or ""))


def of_request(error: CallboardError) -> Fault:
    """Why a click did nothing."""
    if isinstance(error, LedgerError):
        return Fault("chat_ledger", error.detail)
    known = _OF_REQUESTS.get(error.problem_code)
    if known is not None:
        return Fault(known)
    said = "; ".join(str(one["message"]) for one in error.errors or ())
    return Fault("chat_refused", said or error.detail)
