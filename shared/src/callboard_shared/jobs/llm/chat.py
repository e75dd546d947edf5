"""``llm.chat``: the next message of a conversation, which the input brings along or names."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from callboard_shared.jobs.base import Input, JobType, Limits, Output, Utterance
from callboard_shared.jobs.llm.parts import (
    MAX_MESSAGE_CHARS,
    FilledText,
    ImagePart,
    Message,
    NewMessage,
    ResponseFormat,
    TextPart,
    Tool,
    ToolChoice,
    as_message,
    by_form,
)

DEFAULT_CHAT_MODEL = "gpt-4o"
ENGLISH_ALONE = (
    "The local model was made for English, and is small: do not rely on what it says here. For other languages set "
    "OPENAI_API_KEY where the worker runs, or name a larger model in CALLBOARD_LLM_LOCAL_MODEL."
)
"""A warning of an answer, which pages say in their reader's language."""
MAX_CONVERSATION_CHARS = 4_000_000
"""Of all texts together: some million tokens, the largest window there is."""

_Word = Annotated[str, StringConstraints(min_length=1, max_length=256)]
_Stop = Annotated[
    Annotated[_Word, Tag("text:string")]
    | Annotated[list[_Word], Field(min_length=1, max_length=4), Tag("parts:list")],
    Discriminator(by_form),
]


class ChatInput(Input):
    messages: list[Message] = Field(
        default=[],
        min_length=1,
        max_length=2048,
        description="The conversation so far, oldest first; unless it is named.",
    )
    conversation_id: str | None = Field(
        default=None,
        pattern=r"^conv_[0-7][0-9a-hjkmnp-tv-z]{25}$",
        description="One of `/v1/conversations`: it brings the history, and keeps `message` and the reply.",
    )
    message: NewMessage | None = Field(default=None, description="The user's next message there.")
    model: str = Field(
        default=DEFAULT_CHAT_MODEL,
        min_length=1,
        max_length=256,
        description="A model of the provider's; the local provider takes the default for its own.",
    )
    system: FilledText | None = Field(
        default=None,
        description="What the model is told before the conversation (in place of what a named one says).",
    )
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="0: always the likeliest word; the provider's own if null."
    )
    top_p: float | None = Field(
        default=None, ge=0, le=1, description="Choose among the likeliest words only."
    )
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000, description="Longest answer.")
    stop: _Stop | None = Field(
        default=None, description="A text, or up to four, before which the answer ends."
    )
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)
    tools: list[Tool] | None = Field(default=None, min_length=1, max_length=128)
    tool_choice: ToolChoice | None = None
    response_format: ResponseFormat | None = Field(
        default=None, description="text, json_object or json_schema."
    )
    provider: Literal["auto", "openai", "local"] = Field(
        default="auto",
        description="auto: openai if the worker has a key, else (or for the local model by its name) local.",
    )

    @model_validator(mode="after")
    def _as_a_whole(self) -> Self:
        named = self.conversation_id is not None
        if named == bool(self.messages) or named != (self.message is not None):
            raise ValueError("give either 'messages', or 'conversation_id' and 'message'")
        if named and self.tools is not None:
            raise ValueError(
                "'tools' go with 'messages': a conversation that is kept holds no calls of tools"
            )
        if self.tool_choice is not None and self.tools is None:
            raise ValueError("'tool_choice' needs 'tools' to choose from")
        characters = sum(message.characters for message in (*self.messages, *self._said))
        if characters > MAX_CONVERSATION_CHARS:
            raise ValueError(
                f"the messages have {characters:,} characters together; {MAX_CONVERSATION_CHARS:,} are allowed"
            )
        return self

    @property
    def _said(self) -> list[Message]:
        return [] if self.message is None else [as_message(self.message)]

    @property
    def utterance(self) -> Utterance | None:
        """What it says in the conversation that it names."""
        if self.conversation_id is None or self.message is None:
            return None
        message = as_message(self.message)
        content = message.model_dump(exclude_none=True)["content"]
        return Utterance(self.conversation_id, content, title_of(message))


class CalledFunction(Output):
    name: str
    arguments: str = Field(description="JSON, as the model wrote it: check it before use.")


class AskedCall(Output):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class AssistantMessage(Output):
    role: Literal["assistant"] = "assistant"
    content: str | None = Field(default=None, description="Null where the model only asks for tools.")
    tool_calls: list[AskedCall] | None = None


class ChatUsage(Output):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Trimmed(Output):
    """What a long conversation left out: whole turns, the oldest first."""

    messages: int = Field(description="How many messages the model was not shown.")
    window: int = Field(description="Tokens that it reads and writes at a time.")
    counted: Literal["exactly", "estimated"]


class ChatOutput(Output):
    message: AssistantMessage
    finish_reason: Literal["stop", "length", "tool_calls", "canceled"] = Field(
        description="Why it ends: said all, cut at its longest, wants tools, or (of a canceled job) stopped."
    )
    usage: ChatUsage | None = Field(default=None, description="As the provider counted.")
    cost_usd: float | None = Field(default=None, description="By the price table; null if it has no price.")
    model: str = Field(description="The model that answered, as the provider calls it.")
    provider: str = Field(description="Who answered: openai or local.")
    trimmed: Trimmed | None = Field(
        default=None, description="Set if the history was too long for the model."
    )
    warnings: list[str] | None = None


_LONGEST_TITLE = 60


def title_of(message: Message) -> str:
    """The first words of what it says; nothing where it says nothing."""
    texts = [part.text for part in message.parts if isinstance(part, TextPart)]
    said = " ".join((message.content if isinstance(message.content, str) else " ".join(texts)).split())
    if len(said) <= _LONGEST_TITLE:
        return said
    words = said[:_LONGEST_TITLE].rpartition(" ")[0] if said[_LONGEST_TITLE] != " " else said[:_LONGEST_TITLE]
    return (words if len(words) > _LONGEST_TITLE // 2 else said[:_LONGEST_TITLE]) + "…"


CHAT = JobType(
    name="llm.chat",
    queue="llm",
    input=ChatInput,
    output=ChatOutput,
    summary="Answer a conversation; tokens stream as `delta` events while the job runs.",
    example={
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "temperature": 0,
        "max_tokens": 32,
    },
    limits=Limits(timeout_s=600),
    says=lambda value: value.utterance,
)

__all__ = [
    "CHAT", "DEFAULT_CHAT_MODEL", "MAX_CONVERSATION_CHARS", "MAX_MESSAGE_CHARS", "AssistantMessage", "ChatInput",
    "ChatOutput", "ChatUsage", "ImagePart", "Message", "TextPart",
]  # fmt: skip
