"""How a message joins a conversation as its job is submitted, and why a submission is refused."""

from __future__ import annotations

import orjson

from callboard_shared.errors import Conflict, Invalid, LimitReached, RequestError
from callboard_shared.ledger.records import Saying

_UNKNOWN = "There is no such conversation. Make one with POST /v1/conversations and give the id that it gets."
_BUSY = (
    "In this conversation job {} is answering. Wait until it has ended, or cancel it, and send this again."
)
_FULL = "This conversation is as long as one may be. Go on in a new one."


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


def refusal(status: str, answering: bytes, max_waiting: int) -> RequestError | None:
    """What the script's status of a job that it did not accept means; None for one that it did."""
    if status == "limit":
        return LimitReached(
            f"This key already has {max_waiting:,} jobs waiting, which is its limit. Submit again when some have "
            "started.",
            code="too-many-waiting",
            retry_after_s=5,
        )
    if status == "unknown":
        fault = {"field": "input.conversation_id", "message": _UNKNOWN, "code": "unknown-conversation"}
        return Invalid(_UNKNOWN, code="unknown-conversation", errors=[fault])
    if status == "busy":
        job_id = answering.decode()
        return Conflict(_BUSY.format(job_id), code="conversation-busy", members={"job_id": job_id})
    if status == "full":
        return Conflict(_FULL, code="conversation-full")
    return None
