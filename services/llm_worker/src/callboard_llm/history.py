"""What a chat goes on from, where its conversation is kept: the history, cut by whole turns to the model's window."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from callboard_llm.providers import Provider
from callboard_shared.errors import FinalError
from callboard_shared.jobs.llm import DEFAULT_CHAT_MODEL, ChatInput, ImagePart, Message, TextPart
from callboard_shared.jobs.llm.chat import Trimmed
from callboard_shared.jobs.llm.parts import as_message
from callboard_shared.ledger import conversing, filing
from callboard_shared.ledger.conversing import Turn
from callboard_shared.worker import Context, Job

_AROUND = 8
"""Tokens around each message: who speaks, where it begins and ends."""
_PICTURE = 1_105
"""Tokens of a picture at OpenAI, looked at closely and of usual size."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A chat's input with all its messages, and what its owner should know of them."""

    input: ChatInput
    trimmed: Trimmed | None = None
    warnings: tuple[str, ...] = ()


async def recall(job: Job[ChatInput]) -> Talk:
    """The input with the history of the conversation that it names, the same at every attempt. Raises FinalError
    ``conversation-gone``, and LedgerError."""
    value = job.input
    if value.conversation_id is None or value.message is None:
        return Talk(value)
    past = await asyncio.to_thread(job.context.ask, conversing.past(value.conversation_id, job.id))
    if past is None:
        raise FinalError(
            "The conversation was deleted while this was to be answered.", code="conversation-gone"
        )
    update = {
        "messages": [
            *(message for pair in answered(past.turns) for message in pair),
            as_message(value.message),
        ],
        "system": value.system or past.system or None,
        "model": value.model if "model" in value.model_fields_set else past.model or DEFAULT_CHAT_MODEL,
    }
    return Talk(value.model_copy(update=update))


def answered(turns: Sequence[Turn]) -> Iterator[tuple[Message, Message]]:
    """Messages with their replies. The model does not hear again what was not answered."""
    for said, reply in pairwise(turns):
        if (said.role, said.status, reply.role) == ("user", "answered", "assistant"):
            yield (
                Message.model_validate({"role": "user", "content": said.content}, strict=False),
                Message.model_construct(role="assistant", content=reply.content),  # which may be empty
            )


async def fit(talk: Talk, provider: Provider) -> Talk:
    """``talk`` without the oldest turns that the model's window has no room for; what is new stays in any case."""
    value = talk.input
    if value.conversation_id is None:
        return talk
    *past, new = value.messages
    window = provider.window(value.model)
    answer = value.max_tokens or min(provider.usual_answer, window // 4)
    room = window - answer - _AROUND - _bound(new) - len((value.system or "").encode())
    if sum(_bound(message) for message in past) <= room:  # by bytes, of which a token has one at least
        return talk
    fixed = await provider.count([value.system or "", *_texts(new)], value.model)
    room = window - answer - _AROUND - sum(fixed) - _overhead(new)
    kept = await _newest(past, room, provider, value.model)
    left_out = len(past) - len(kept)
    if not left_out:
        return talk
    exact = provider.counts_exactly(value.model)
    note = f"The model was not shown the {left_out} oldest messages: it reads {window:,} tokens at a time" + (
        "." if exact else " (counted by estimate)."
    )
    return replace(
        talk,
        input=value.model_copy(update={"messages": [*kept, new]}),
        trimmed=Trimmed(messages=left_out, window=window, counted="exactly" if exact else "estimated"),
        warnings=(*talk.warnings, note),
    )


async def _newest(past: Sequence[Message], room: int, provider: Provider, model: str) -> list[Message]:
    """The newest pairs of message and reply that fit into ``room`` tokens."""
    kept: list[Message] = []
    for at in range(len(past) - 2, -1, -2):
        pair = past[at : at + 2]
        counts = await provider.count([text for message in pair for text in _texts(message)], model)
        room -= sum(counts) + sum(map(_overhead, pair))
        if room < 0:
            break
        kept = [*pair, *kept]
    return kept


def doubted(talk: Talk, provider: Provider) -> Talk:
    """``talk`` with the provider's doubts about what is said last."""
    doubt = provider.doubts(_texts(talk.input.messages[-1]))
    return replace(talk, warnings=(*talk.warnings, doubt)) if doubt else talk


async def with_its_pictures(talk: Talk, context: Context) -> Talk:
    """``talk`` with a few words in place of each old picture whose file has been deleted since."""
    if talk.input.conversation_id is None:
        return talk
    *past, new = talk.input.messages
    named = {one.image_url.file_id for message in past for one in message.parts if isinstance(one, ImagePart)}
    gone = {
        file_id
        for file_id in named
        if file_id and await asyncio.to_thread(context.ask, filing.get_file(file_id)) is None
    }
    if not gone:
        return talk
    messages = [*(_without(message, gone) for message in past), new]
    note = "A picture of the conversation has been deleted; the model was told so in its place."
    return replace(
        talk, input=talk.input.model_copy(update={"messages": messages}), warnings=(*talk.warnings, note)
    )


def _without(message: Message, gone: set[str]) -> Message:
    if not message.parts:
        return message
    parts = [
        TextPart(type="text", text="(a picture that has been deleted)")
        if isinstance(part, ImagePart) and part.image_url.file_id in gone
        else part
        for part in message.parts
    ]
    return message.model_copy(update={"content": parts})


def _texts(message: Message) -> list[str]:
    if isinstance(message.content, str):
        return [message.content]
    return [part.text for part in message.parts if isinstance(part, TextPart)]


def _overhead(message: Message) -> int:
    return _AROUND + _PICTURE * sum(isinstance(part, ImagePart) for part in message.parts)


def _bound(message: Message) -> int:
    """Tokens that it has at most."""
    return _overhead(message) + sum(len(text.encode()) for text in _texts(message))
