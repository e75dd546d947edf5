"""The pictures of a chat, brought here: a provider is sent their bytes, and never an address that a user gave.

What is at a URL comes through the guarded client, as the inputs of every job do; files come from the object store.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Unpack

from callboard_llm.faults import invalid
from callboard_llm.history import Talk
from callboard_shared.errors import FinalError
from callboard_shared.jobs.llm import ImagePart, Message, TextPart
from callboard_shared.jobs.llm.parts import ImageSource
from callboard_shared.media_types import media_type_of
from callboard_shared.outbound import FetchLimits, OutboundSettings, UrlNotAllowed, download, shown_host
from callboard_shared.outbound.fetching import Wiring
from callboard_shared.worker import Context

LARGEST = 20 * 1024 * 1024
_TOGETHER = 50 * 1024 * 1024
"""Of one chat: what OpenAI takes with one request."""
_SEEN = ("image/png", "image/jpeg", "image/gif", "image/webp")
_LEFT_OUT = "(a picture that can no longer be fetched)"


@dataclass(slots=True)
class _Bag:
    """What has been brought for one chat so far."""

    bytes: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, size: int) -> None:
        self.bytes += size
        if self.bytes > _TOGETHER:
            raise invalid(f"The pictures are larger than {_TOGETHER >> 20} MiB together; send fewer.")


class Pictures:
    """``wiring``: takes the place of the system's network, as of ``open_client``."""

    def __init__(self, settings: OutboundSettings, **wiring: Unpack[Wiring]) -> None:
        self._policy = settings.policy
        self._limits = FetchLimits.of(settings, LARGEST)
        self._wiring = wiring

    async def brought(self, talk: Talk, context: Context) -> Talk:
        """``talk`` with a data URL in place of each file and address, one after the other. An old picture of a kept
        conversation whose address is of no use any more is told of in its place. Raises what ``download`` and
        ``Context.open_file`` do, and FinalError ``provider-invalid`` for what is no picture, or too large."""
        *past, new = talk.input.messages
        kept = talk.input.conversation_id is not None
        bag = _Bag()
        old = [await self._message(message, context, bag, optional=kept) for message in past]
        seen = [*old, await self._message(new, context, bag)]
        value = talk.input.model_copy(update={"messages": seen})
        return replace(talk, input=value, warnings=(*talk.warnings, *dict.fromkeys(bag.notes)))

    async def _message(
        self, message: Message, context: Context, bag: _Bag, *, optional: bool = False
    ) -> Message:
        """``optional``: a picture whose address does not give it may be left out."""
        parts: list[TextPart | ImagePart] = []
        for part in message.parts:
            if not isinstance(part, ImagePart) or _is_here(part.image_url):
                parts.append(part)
                continue
            try:
                data = await self._bytes(part.image_url, context)
                parts.append(await asyncio.to_thread(_as_data_url, part, data))
            except (FinalError, UrlNotAllowed) as error:
                if not optional or part.image_url.address is None:
                    raise
                bag.notes.append(f"A picture of the conversation was left out: {error.detail}")
                parts.append(TextPart(type="text", text=_LEFT_OUT))
            else:
                bag.add(len(data))
        return message.model_copy(update={"content": parts}) if parts else message

    async def _bytes(self, source: ImageSource, context: Context) -> bytes:
        if source.address is None:  # on a disk, and found by the ledger
            return await asyncio.to_thread(_of_a_file, source, context)
        content = io.BytesIO()
        await download(source.address, self._policy, self._limits, content, **self._wiring)
        return content.getvalue()


def has_pictures(talk: Talk) -> bool:
    """Whether the model must see something."""
    return any(_pictures_of(talk.input.messages))


def must_be_brought(talk: Talk) -> bool:
    """Whether a picture is elsewhere: in a file, or at an address."""
    return any(not _is_here(part.image_url) for part in _pictures_of(talk.input.messages))


def _pictures_of(messages: Sequence[Message]) -> Iterator[ImagePart]:
    return (part for one in messages for part in one.parts if isinstance(part, ImagePart))


def _is_here(source: ImageSource) -> bool:
    return source.url is not None and source.address is None


def _of_a_file(source: ImageSource, context: Context) -> bytes:
    with context.open_file(source) as opened:
        return opened.content.read(LARGEST + 1)


def _as_data_url(part: ImagePart, picture: bytes) -> ImagePart:
    source = part.image_url
    where = f"at {shown_host(source.address)}" if source.address is not None else "given as a picture"
    if len(picture) > LARGEST:
        raise invalid(f"A picture is larger than {LARGEST >> 20} MiB; make it smaller.")
    media_type = media_type_of(picture)
    if media_type not in _SEEN:
        raise invalid(f"The file {where} is {media_type}; models see png, jpeg, gif and webp.")
    url = f"data:{media_type};base64,{base64.b64encode(picture).decode()}"
    # Not validated: a pattern that runs over megabytes would tell nothing new.
    here = ImageSource.model_construct(url=url, detail=source.detail)
    return part.model_copy(update={"image_url": here})
