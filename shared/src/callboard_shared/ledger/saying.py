"""How a message joins a conversation as its job is submitted, and why a submission is refused."""

from __future__ import annotations

from typing import Any

import orjson

from callboard_shared.errors import Conflict, Invalid, LimitReached, RequestError
from callboard_shared.jobs.base import Input, JobType
from callboard_shared.ledger.records import Saying

_UNKNOWN = "There is no such conversation. Make one with POST /v1/conversations and give the id that it gets."
_BUSY = (
    "In this conversation job {} is answering. Wait until it has ended, or cancel it, and send this again."
)
_FULL = "This conversation is as long as one may be. Go on in a new one."


def saying_of(job_type: JobType[Any, Any], value: Input, replaces: str = "") -> Saying | None:
    """What the job is to answer in a conversation. ``replaces``: the job that was to, and did not."""
    said = job_type.says(value)
    if said is None:
        return None
    return Saying(said.conversation, orjson.dumps({"content": said.content}), said.title, replaces)


def said(saying: Saying) -> bytes:
    """As the scripts read it."""
    return orjson.dumps(
        {
            "conversation": saying.conversation,
            "body": saying.body.decode(),
            "title": saying.title,
            "replaces": saying.replaces,
        }
    )


_SOONEST_S, _LATEST_S, _UNKNOWN_S = 1.0, 3600.0, 5.0
"""Bounds of ``Retry-After`` where too many jobs wait; the last where nothing is known of the queue's pace."""


def refusal(status: str, detail: bytes, room_ms: int | None = None) -> RequestError | None:
    """What the script's status of a job that it did not accept means; None for one that it did. ``detail``: how many
    may wait, or the job that answers in the conversation; ``room_ms``: until some of those that wait have started."""
    if status == "limit":
        room_s = _UNKNOWN_S if room_ms is None else room_ms / 1000
        return LimitReached(
            f"This key already has {int(detail):,} jobs waiting, which is its limit. Submit again when some have "
            "started.",
            code="queue-full",
            retry_after_s=min(_LATEST_S, max(_SOONEST_S, room_s)),
        )
    if status == "unknown":
        fault = {"field": "input.conversation_id", "message": _UNKNOWN, "code": "unknown-conversation"}
        return Invalid(_UNKNOWN, code="unknown-conversation", errors=[fault])
    if status == "busy":
        job_id = detail.decode()
        return Conflict(_BUSY.format(job_id), code="conversation-busy", members={"job_id": job_id})
    if status == "full":
        return Conflict(_FULL, code="conversation-full")
    return None
