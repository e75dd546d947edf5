"""Which messages of the broker a worker takes for a bell. All others are refused and said, and harm nobody.

Celery alone ends the whole worker at a JSON message of another shape, takes ``application/data`` and text undecoded
past ``accept_content`` (kombu trusts these), and logs the body of what it refuses.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import structlog
from celery.worker.consumer import Consumer
from kombu.message import Message

from callboard_shared.bell import TASK

log = structlog.get_logger(__name__)
_celery = logging.getLogger("celery.worker")


class BellConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer, before which only bells come."""

    def create_task_handler(self, *arguments: Any, **named: Any) -> Callable[[Message], None]:
        receive = super().create_task_handler(*arguments, **named)

        def on_message(message: Message) -> None:
            reason = why_no_bell(message)
            if reason is None:
                receive(message)
                return
            log.warning("bell.refused", reason=reason, content_type=str(message.content_type)[:80])
            message.reject_log_error(_celery, self.connection_errors)  # type: ignore[no-untyped-call]

        return on_message


def why_no_bell(message: Message) -> str | None:
    """Of a bell None: JSON ``[[queue], {}, …]`` under our task's name. Never more than the kind of what is wrong."""
    if message.content_type != "application/json":
        return "only JSON is taken"
    headers = message.headers
    if not isinstance(headers, dict) or headers.get("task") != TASK:
        return "it names no task of ours"
    try:
        body = message.payload
    except Exception as error:  # whatever kombu and its decoders raise
        return f"it cannot be decoded: {type(error).__name__}"
    match body:
        case [[str()], {}, *_] if body[1] == {} and len(body) == 3:
            return None
    return "its body is not a bell's"
