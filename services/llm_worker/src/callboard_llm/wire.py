"""From a job's input to OpenAI's words."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

from callboard_llm.faults import invalid
from callboard_llm.providers import Ask
from callboard_shared.jobs.base import FileInput
from callboard_shared.jobs.llm import ChatInput, ImagePart, Message
from callboard_shared.jobs.llm.parts import ImageSource
from callboard_shared.media_types import media_type_of
from callboard_shared.worker import Context

_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_LARGEST_PICTURE = 20 * 1024 * 1024
_THINKERS = re.compile(r"^(o\d|gpt-[5-9])")
"""Models that refuse the old name of max_tokens; servers that imitate OpenAI may know no other."""

ReadPicture = Callable[[FileInput], bytes]


def asked(value: ChatInput, read_picture: ReadPicture) -> Ask:
    """``read_picture``: the bytes of a file. Raises FinalError for one that is no picture."""
    messages = [_message(message, read_picture) for message in value.messages]
    if value.system is not None:
        messages.insert(0, {"role": "system", "content": value.system})
    return Ask(value.model, messages, _options(value))


def has_files(value: ChatInput) -> bool:
    """Whether a file must be read for it."""
    return any(
        isinstance(part, ImagePart) and part.image_url.url is None
        for one in value.messages
        for part in one.parts
    )


def reader(context: Context) -> ReadPicture:
    """Reads pictures that a job's input names, as far as they are not too large. Blocks."""

    def read(given: FileInput) -> bytes:
        with context.open_file(given) as opened:
            return opened.content.read(_LARGEST_PICTURE + 1)

    return read


def _message(message: Message, read_picture: ReadPicture) -> dict[str, Any]:
    plain = message.model_dump(exclude_none=True, exclude={"content"})
    if isinstance(message.content, str):
        plain["content"] = message.content
    elif message.content is not None:
        plain["content"] = [
            _picture(part.image_url, read_picture) if isinstance(part, ImagePart) else part.model_dump()
            for part in message.content
        ]
    return plain


def _picture(source: ImageSource, read_picture: ReadPicture) -> dict[str, Any]:
    url = source.url if source.url is not None else _data_url(read_picture(source))
    return {"type": "image_url", "image_url": {"url": url, "detail": source.detail}}


def _data_url(picture: bytes) -> str:
    if len(picture) > _LARGEST_PICTURE:
        raise invalid(f"A picture is larger than {_LARGEST_PICTURE >> 20} MiB; make it smaller.")
    media_type = media_type_of(picture)
    if media_type not in _PICTURES:
        raise invalid(f"A file given as a picture is {media_type}; models see png, jpeg, gif and webp.")
    return f"data:{media_type};base64,{base64.b64encode(picture).decode()}"


def _options(value: ChatInput) -> dict[str, Any]:
    plain = value.model_dump(
        exclude_none=True,
        by_alias=True,
        include={"temperature", "top_p", "stop", "seed", "tools", "tool_choice", "response_format"},
    )
    if value.max_tokens is not None:
        plain["max_completion_tokens" if _THINKERS.match(value.model) else "max_tokens"] = value.max_tokens
    return plain
