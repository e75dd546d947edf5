"""From a job's input to OpenAI's words."""

from __future__ import annotations

import re
from typing import Any

from callboard_llm.providers import Ask
from callboard_shared.jobs.llm import ChatInput, ImagePart, Message
from callboard_shared.jobs.llm.parts import ImageSource

_THINKERS = re.compile(r"^(o\d|gpt-[5-9])")
"""Models that refuse the old name of max_tokens; servers that imitate OpenAI may know no other."""


def asked(value: ChatInput) -> Ask:
    """The chat as a provider is asked; its pictures must be data URLs by now, see ``pictures``."""
    messages = [_message(message) for message in value.messages]
    if value.system is not None:
        messages.insert(0, {"role": "system", "content": value.system})
    return Ask(value.model, messages, _options(value))


def _message(message: Message) -> dict[str, Any]:
    plain = message.model_dump(exclude_none=True, exclude={"content"})
    if isinstance(message.content, str):
        plain["content"] = message.content
    elif message.content is not None:
        plain["content"] = [
            _picture(part.image_url) if isinstance(part, ImagePart) else part.model_dump()
            for part in message.content
        ]
    return plain


def _picture(source: ImageSource) -> dict[str, Any]:
    if source.url is None or source.address is not None:
        raise AssertionError("a picture was not brought here")
    return {"type": "image_url", "image_url": {"url": source.url, "detail": source.detail}}


def _options(value: ChatInput) -> dict[str, Any]:
    plain = value.model_dump(
        exclude_none=True,
        by_alias=True,
        include={"temperature", "top_p", "stop", "seed", "tools", "tool_choice", "response_format"},
    )
    if value.max_tokens is not None:
        plain["max_completion_tokens" if _THINKERS.match(value.model) else "max_tokens"] = value.max_tokens
    return plain
