"""OpenAI, or any server that speaks its protocol."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import openai

from callboard_llm.faults import Service, invalid
from callboard_llm.providers.completions import complete
from callboard_llm.providers.interface import Answer, Ask, Listener
from callboard_llm.settings import OPENAI_URL, OpenAISettings
from callboard_llm.tokens import encoding_for, estimated
from callboard_llm.turns import Turns
from callboard_llm.windows import window_of
from callboard_shared.errors import RetryableError

_CONNECT_S = 10.0
_BLIND = re.compile(r"gpt-3\.5|gpt-4(-\d{4}|-32k.*)?$|o1-(mini|preview)|o3-mini")
"""OpenAI's models that take texts alone (https://platform.openai.com/docs/models)."""


class OpenAI:
    """One per process: its client keeps connections for the next chat."""

    name = "openai"
    usual_answer = 4_096

    def __init__(self, settings: OpenAISettings) -> None:
        self._settings = settings
        self._service = Service(
            "OpenAI",
            "OPENAI_API_KEY",
            "OPENAI_BASE_URL",
            "CALLBOARD_OPENAI_SILENCE_S",
            settings.openai_api_key,
        )
        self._turns = Turns(
            self._service.title, settings.openai_concurrency, settings.openai_requests_per_min
        )
        self._client: openai.AsyncOpenAI | None = None

    @property
    def ready(self) -> bool:
        """Whether there is a key."""
        return self._settings.openai_api_key is not None

    def window(self, model: str) -> int:
        return self._settings.openai_window or window_of(model)

    async def count(self, texts: Sequence[str], model: str) -> list[int]:
        encoding = encoding_for(model)
        if encoding is None:
            return [estimated(text) for text in texts]
        return [
            len(tokens) for tokens in await asyncio.to_thread(encoding.encode_ordinary_batch, list(texts))
        ]

    def counts_exactly(self, model: str) -> bool:
        return encoding_for(model) is not None

    def doubts(self, texts: Sequence[str]) -> str | None:
        return None

    def check_sees(self, model: str) -> None:
        if not self.ready:
            raise self._service.without_key()
        if self._settings.openai_base_url == OPENAI_URL and _BLIND.match(model):
            raise invalid(
                f"{self._service.title}'s {model[:100]} sees no pictures. Leave them out, or name gpt-4o."
            )

    async def chat(self, ask: Ask, answer: Answer, listener: Listener) -> None:
        if self._client is None:
            self._client = connected(self._settings, self._service, self._settings.openai_silence_s)
        async with self._turns.turn(listener):
            try:
                await complete(self._client, self._service, ask, answer, listener)
            except RetryableError as error:
                self._turns.heed(error)
                raise


def connected(settings: OpenAISettings, service: Service, silence_s: float) -> openai.AsyncOpenAI:
    """A client for one event loop; ``silence_s``: how long the server may say nothing. Raises FinalError without a
    key."""
    key = settings.openai_api_key
    if key is None:
        raise service.without_key()
    return openai.AsyncOpenAI(
        api_key=key.get_secret_value(),
        base_url=settings.openai_base_url,
        timeout=openai.Timeout(silence_s, connect=_CONNECT_S, pool=None),
        max_retries=0,  # a job has attempts of its own, which its owner sees
    )
