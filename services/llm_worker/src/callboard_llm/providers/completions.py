"""One chat by OpenAI's protocol (https://platform.openai.com/docs/api-reference/chat/streaming): asked, and put
together as it streams in."""

from __future__ import annotations

from typing import Any, cast

import openai
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import ChoiceDelta, ChoiceDeltaToolCall

from callboard_llm.faults import Service
from callboard_llm.providers.faults import as_job_error
from callboard_llm.providers.interface import Answer, Ask, Listener, ToolCall
from callboard_shared.errors import JobError


async def complete(
    client: openai.AsyncOpenAI, service: Service, ask: Ask, answer: Answer, listener: Listener
) -> None:
    """Streams the answer to ``ask`` into ``answer``. Raises RetryableError or FinalError. However it ends, also by a
    cancel, the connection is closed, by which the provider knows to stop."""
    try:
        stream: openai.AsyncStream[ChatCompletionChunk] = await client.chat.completions.create(
            model=ask.model,
            messages=cast(Any, ask.messages),
            stream=True,
            stream_options={"include_usage": True},
            **cast(dict[str, Any], ask.options),
        )
        async with stream:
            async for chunk in stream:
                _take(chunk, answer, listener)
    except JobError:
        raise
    except (openai.OpenAIError, ValueError, TypeError) as error:  # the latter: what came was no such JSON
        raise as_job_error(error, service, ask.messages) from None
    if answer.refusal or answer.finish_reason == "content_filter":
        raise service.refused()
    if answer.finish_reason is None:  # the stream just ended: whoever sent it is gone
        raise service.unavailable("broke off in the middle of its answer")


def _take(chunk: ChatCompletionChunk, answer: Answer, listener: Listener) -> None:
    answer.model = chunk.model or answer.model
    if chunk.usage is not None:
        answer.prompt_tokens = chunk.usage.prompt_tokens
        answer.completion_tokens = chunk.usage.completion_tokens
        details = chunk.usage.prompt_tokens_details
        answer.cached_tokens = (details.cached_tokens if details else None) or 0
    for choice in (chunk.choices or ())[:1]:
        _say(choice.delta, answer, listener)
        answer.finish_reason = choice.finish_reason or answer.finish_reason


def _say(delta: ChoiceDelta | None, answer: Answer, listener: Listener) -> None:
    if delta is None:  # some servers leave it out of the last piece
        return
    if delta.content:
        text = _valid(delta.content)
        answer.text.append(text)
        listener.delta(text)
    if delta.refusal:
        answer.refusal.append(delta.refusal)
    for piece in delta.tool_calls or ():
        _add(answer.tool_calls.setdefault(piece.index or 0, ToolCall()), piece)


def _add(call: ToolCall, piece: ChoiceDeltaToolCall) -> None:
    """Id and name come once, the arguments bit by bit."""
    call.id = piece.id or call.id
    function: Any = piece.function
    if function is not None:
        call.name = _valid(function.name or "") or call.name
        call.arguments += _valid(function.arguments or "")


def _valid(text: str) -> str:
    """Half of a surrogate pair can stand in JSON, and in no UTF-8."""
    return (
        text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    )
