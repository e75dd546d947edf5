"""Conversations, for both clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from callboard_client import _conversation_calls as calls
from callboard_client import _flows
from callboard_client._conversation_calls import Content
from callboard_client._drivers import AsyncWire, SyncWire
from callboard_client._models import Conversation, Job, Message
from callboard_client._paging import Pages


class Conversations:
    """``callboard.conversations``"""

    def __init__(self, wire: SyncWire) -> None:
        self._wire = wire

    def create(
        self, *, title: str | None = None, system: str | None = None, model: str | None = None
    ) -> Conversation:
        """A conversation, which is kept until it is deleted. ``title``: else made from its first message."""
        return self._wire.send(calls.create(title, system, model))

    def list(self, q: str | None = None, *, limit: int | None = None) -> Iterator[Conversation]:
        """Conversations of this key, newest first, page after page; with ``q`` those whose title holds it."""
        return self._wire.walk(Pages(lambda page, cursor: calls.list_page(q, page, cursor), limit))

    def get(self, conversation: Conversation | str, *, include_system: bool = False) -> Conversation:
        """With all its ``messages``, oldest first."""
        return self._wire.send(calls.get(conversation, include_system))

    def update(self, conversation: Conversation | str, **changes: str | None) -> Conversation:
        """Changes ``title``, ``system`` or ``model``; ``None`` takes it away, what is not named stays."""
        return self._wire.send(calls.update(conversation, changes))

    def delete(self, conversation: Conversation | str) -> None:
        """Removes it with its messages; a job that is answering in it is canceled."""
        self._wire.send(calls.delete(conversation))

    def send(
        self,
        conversation: Conversation | str,
        content: Content,
        *,
        model: str | None = None,
        provider: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Job:
        """Say something, and come back at once with the job that answers: its events are the answer as it is made.

        ``Conflict`` while another job answers there; its ``problem.job_id`` says which. ``options``: others of
        llm.chat's input, for this answer.
        """
        options |= {
            "model": model, "provider": provider, "temperature": temperature, "max_tokens": max_tokens
        }  # fmt: skip
        return self._wire.send(calls.message(conversation, content, options, idempotency_key)(0))

    def ask(
        self,
        conversation: Conversation | str,
        content: Content,
        *,
        wait_s: float | None = None,
        model: str | None = None,
        provider: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Any:
        """Say something, wait for the answer, and give the chat's output; see ``send``, and ``Callboard.run``."""
        options |= {
            "model": model, "provider": provider, "temperature": temperature, "max_tokens": max_tokens
        }  # fmt: skip
        message = calls.message(conversation, content, options, idempotency_key)
        return self._wire.drive(_flows.run(message, wait_s, self._wire.retries))

    def messages(
        self, conversation: Conversation | str, *, include_system: bool = False, limit: int | None = None
    ) -> Iterator[Message]:
        """Its messages, oldest first, page after page."""
        return self._wire.walk(
            Pages(lambda page, cursor: calls.messages(conversation, include_system, page, cursor), limit)
        )

    def export(
        self, conversation: Conversation | str, format: str = "md", *, include_system: bool = False
    ) -> str:
        """The whole conversation as Markdown (``md``) or ``json``."""
        return self._wire.send(calls.export(conversation, format, include_system))


class AsyncConversations:
    """``callboard.conversations``"""

    def __init__(self, wire: AsyncWire) -> None:
        self._wire = wire

    async def create(
        self, *, title: str | None = None, system: str | None = None, model: str | None = None
    ) -> Conversation:
        """A conversation, which is kept until it is deleted. ``title``: else made from its first message."""
        return await self._wire.send(calls.create(title, system, model))

    def list(self, q: str | None = None, *, limit: int | None = None) -> AsyncIterator[Conversation]:
        """Conversations of this key, newest first, page after page; with ``q`` those whose title holds it."""
        return self._wire.walk(Pages(lambda page, cursor: calls.list_page(q, page, cursor), limit))

    async def get(self, conversation: Conversation | str, *, include_system: bool = False) -> Conversation:
        """With all its ``messages``, oldest first."""
        return await self._wire.send(calls.get(conversation, include_system))

    async def update(self, conversation: Conversation | str, **changes: str | None) -> Conversation:
        """Changes ``title``, ``system`` or ``model``; ``None`` takes it away, what is not named stays."""
        return await self._wire.send(calls.update(conversation, changes))

    async def delete(self, conversation: Conversation | str) -> None:
        """Removes it with its messages; a job that is answering in it is canceled."""
        await self._wire.send(calls.delete(conversation))

    async def send(
        self,
        conversation: Conversation | str,
        content: Content,
        *,
        model: str | None = None,
        provider: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Job:
        """Say something, and come back at once with the job that answers: its events are the answer as it is made.

        ``Conflict`` while another job answers there; its ``problem.job_id`` says which. ``options``: others of
        llm.chat's input, for this answer.
        """
        options |= {
            "model": model, "provider": provider, "temperature": temperature, "max_tokens": max_tokens
        }  # fmt: skip
        return await self._wire.send(calls.message(conversation, content, options, idempotency_key)(0))

    async def ask(
        self,
        conversation: Conversation | str,
        content: Content,
        *,
        wait_s: float | None = None,
        model: str | None = None,
        provider: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Any:
        """Say something, wait for the answer, and give the chat's output; see ``send``, and ``Callboard.run``."""
        options |= {
            "model": model, "provider": provider, "temperature": temperature, "max_tokens": max_tokens
        }  # fmt: skip
        message = calls.message(conversation, content, options, idempotency_key)
        return await self._wire.drive(_flows.run(message, wait_s, self._wire.retries))

    def messages(
        self, conversation: Conversation | str, *, include_system: bool = False, limit: int | None = None
    ) -> AsyncIterator[Message]:
        """Its messages, oldest first, page after page."""
        return self._wire.walk(
            Pages(lambda page, cursor: calls.messages(conversation, include_system, page, cursor), limit)
        )

    async def export(
        self, conversation: Conversation | str, format: str = "md", *, include_system: bool = False
    ) -> str:
        """The whole conversation as Markdown (``md``) or ``json``."""
        return await self._wire.send(calls.export(conversation, format, include_system))
