"""What a handler sees of a provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from callboard_llm.turns import Waiter


@dataclass(frozen=True, slots=True)
class Ask:
    """A chat in OpenAI's words: ``messages`` and ``options`` as they go over the wire."""

    model: str
    messages: Sequence[Mapping[str, Any]]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class ToolCall:
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Answer:
    """What has been said, so far or in the end. Tokens are None where the provider does not count."""

    model: str
    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    tool_calls: dict[int, ToolCall] = field(default_factory=dict)
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int = 0

    @property
    def content(self) -> str:
        return "".join(self.text)


class Listener(Waiter, Protocol):
    """Whom a provider tells how it goes."""

    def delta(self, text: str) -> None:
        """A piece of the answer."""


class Provider(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def usual_answer(self) -> int:
        """Tokens to leave for an answer where the job does not say how long it may be."""

    def window(self, model: str) -> int:
        """Tokens of one chat, the answer included."""

    async def count(self, texts: Sequence[str], model: str) -> list[int]:
        """Tokens of each text. Raises RetryableError."""

    def counts_exactly(self, model: str) -> bool:
        """Whether ``count`` is the model's own, or an estimate that is rather too high."""

    def doubts(self, texts: Sequence[str]) -> str | None:
        """Why its answer to these may be worth little, if there is a reason."""

    def check_sees(self, model: str) -> None:
        """Raises FinalError where it shows this model no pictures, or would not ask it at all."""

    async def chat(self, ask: Ask, answer: Answer, listener: Listener) -> None:
        """Fills ``answer`` as it comes. Raises RetryableError and FinalError with the codes ``provider-…``; canceled,
        it stops the provider at once, and ``answer`` holds what was said by then."""
