"""A chat completion as ``llm.chat``: the request as its input, the output as the answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from callboard_shared.openai.parameters import Parameters, only_default

_TAKEN = ("model", "temperature", "top_p", "stop", "seed", "tools", "tool_choice", "response_format")
_OF_MESSAGES = ("role", "content", "name", "tool_calls", "tool_call_id")


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool = False
    include_obfuscation: bool | None = None


class ChatRequest(Parameters):
    messages: list[dict[str, Any]] = Field(
        description="As in the input of llm.chat; `developer` is `system`."
    )
    model: str = Field(description="A model of OpenAI's, or one of GET /openai/v1/models.")
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    n: int | None = 1
    frequency_penalty: float | None = 0
    presence_penalty: float | None = 0
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = None
    parallel_tool_calls: bool | None = True
    modalities: list[Literal["text", "audio"]] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None


def input_of(asked: ChatRequest) -> dict[str, Any]:
    """The input of llm.chat. Raises Invalid for what would have to do something that is not done here."""
    only_default(
        asked, n=1, frequency_penalty=0, presence_penalty=0, logit_bias={}, logprobs=False, top_logprobs=0,
        parallel_tool_calls=True, modalities=["text"], reasoning_effort=None, verbosity=None,
    )  # fmt: skip
    value = {name: given for name in _TAKEN if (given := getattr(asked, name)) is not None}
    value["messages"] = [_message(message) for message in asked.messages]
    longest = asked.max_completion_tokens or asked.max_tokens
    return value if longest is None else {**value, "max_tokens": longest}


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """A message as llm.chat takes it. What a library sends back of an earlier answer with null in it is left out."""
    taken = {name: given for name, given in message.items() if given is not None or name in _OF_MESSAGES[:2]}
    if taken.get("content", "") is None:
        del taken["content"]
    for empty in ("annotations", "tool_calls"):
        if taken.get(empty) == []:
            del taken[empty]
    return {**taken, "role": "system"} if taken.get("role") == "developer" else taken


def answer_of(job_id: str, created_ms: int, output: dict[str, Any]) -> dict[str, Any]:
    """The body of the answer."""
    message = {"refusal": None, "content": None, **output["message"]}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": output["finish_reason"]}
    return {
        "id": f"chatcmpl-{job_id}",
        "object": "chat.completion",
        "created": created_ms // 1000,
        "model": output["model"],
        "choices": [choice],
        "usage": output.get("usage"),
    }
