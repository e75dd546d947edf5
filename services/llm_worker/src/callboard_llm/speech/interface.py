"""What a provider of speech is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from callboard_llm.faults import Service
from callboard_shared.jobs.tts import SpeechInput, SpeechProvider
from callboard_shared.voices import VoiceInfo


class Speaking(Protocol):
    """A job's connection to a provider."""

    @property
    def voice(self) -> str:
        """As the output names it."""

    @property
    def settings(self) -> str:
        """Everything besides the text that decides how it sounds."""

    @property
    def warnings(self) -> Sequence[str]: ...

    def speak(self, text: str) -> AsyncGenerator[bytes]:
        """The audio of one piece, in chunks as they come. Raises RetryableError or FinalError."""


@dataclass(frozen=True, slots=True)
class Limits:
    """concurrency: pieces spoken at a time; piece_chars: length of one; sample_rate: Hz at which pieces are joined;
    raw_rate: Hz if ``speak`` gives bare 16-bit mono samples, None if its audio says itself what it is; per_min: pieces
    begun in any minute, 0 for any number; timeout_s: seconds for one piece (an answer that drips is slow too);
    max_bytes: of one."""

    concurrency: int
    piece_chars: int
    sample_rate: int
    raw_rate: int | None = None
    per_min: int = 0
    timeout_s: float | None = None
    max_bytes: int = 128 * 1024**2


class Speaker(Protocol):
    """A provider of speech. It speaks on one event loop, and may tell its voices on others."""

    name: SpeechProvider
    service: Service
    limits: Limits

    @property
    def ready(self) -> bool:
        """Whether it has what it needs, such as a key."""

    def begin(self, value: SpeechInput) -> AbstractAsyncContextManager[Speaking]:
        """Resolve voice and settings before anything is spoken (or paid for). Raises as ``speak``."""

    async def voices(self) -> list[VoiceInfo]:
        """The voices that can be named. Raises as ``speak``."""
