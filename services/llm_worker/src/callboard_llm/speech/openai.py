"""OpenAI's speech, and that of servers like it, through the openai SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai

from callboard_llm.faults import Service, invalid, word_of
from callboard_llm.providers.faults import as_job_error
from callboard_llm.providers.openai import connected
from callboard_llm.settings import OpenAISettings, SpeechSettings
from callboard_llm.speech.interface import Limits
from callboard_shared.errors import JobError
from callboard_shared.jobs.tts import SpeechInput, SpeechProvider
from callboard_shared.voices import VoiceInfo

_VOICES = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip
"""https://developers.openai.com/api/docs/guides/text-to-speech; it has no way to list them. A compatible server may
have others, so none is refused before it is asked."""
_SAMPLE_RATE = 24_000
_PIECE_CHARS = 1_500
"""A request may have 4,096 characters, and 2,000 tokens, of which a Korean text has about one a character."""
_CHUNK_BYTES = 64 * 1024


class OpenAISpeaker:
    """One per process: its client keeps connections for the next text."""

    name: SpeechProvider = "openai"

    def __init__(self, openai_settings: OpenAISettings, settings: SpeechSettings) -> None:
        self.service = Service(
            "OpenAI",
            "OPENAI_API_KEY",
            "OPENAI_BASE_URL",
            "CALLBOARD_SPEECH_TIMEOUT_S",
            openai_settings.openai_api_key,
        )
        self.limits = Limits(
            settings.openai_speech_concurrency, _PIECE_CHARS, _SAMPLE_RATE,
            per_min=settings.openai_speech_requests_per_min, timeout_s=settings.speech_timeout_s,
        )  # fmt: skip
        self._openai, self._settings = openai_settings, settings
        self._client: openai.AsyncOpenAI | None = None

    @property
    def ready(self) -> bool:
        """Whether there is a key."""
        return self._openai.openai_api_key is not None

    async def voices(self) -> list[VoiceInfo]:
        default = self._settings.openai_speech_voice
        names = sorted({*_VOICES, default})
        return [VoiceInfo(id=name, name=name, provider="openai", default=name == default) for name in names]

    @asynccontextmanager
    async def begin(self, value: SpeechInput) -> AsyncIterator[OpenAISpeaking]:
        if self._client is None:
            self._client = connected(self._openai, self.service, self._settings.speech_timeout_s)
        given = value.voice_settings.model_dump(exclude_none=True) if value.voice_settings else {}
        speed = given.pop("speed", None)
        ignored = [f"OpenAI knows no {name}; it was left out." for name in given]
        theirs = value.model_id.startswith("eleven_")
        model = self._settings.openai_speech_model if theirs else value.model_id
        voice = value.voice or self._settings.openai_speech_voice
        yield OpenAISpeaking(self, self._client, voice, model, speed, ignored)

    @property
    def base_url(self) -> str:
        return self._openai.openai_base_url


@dataclass(frozen=True, slots=True)
class OpenAISpeaking:
    _speaker: OpenAISpeaker
    _client: openai.AsyncOpenAI = field(repr=False)
    voice: str
    model: str
    speed: float | None
    warnings: list[str]

    @property
    def settings(self) -> str:
        return f"{self._speaker.base_url} {self.model} {self.speed}"

    async def speak(self, text: str) -> AsyncGenerator[bytes]:
        service = self._speaker.service
        more: dict[str, Any] = {} if self.speed is None else {"speed": self.speed}
        try:
            # WAV says its own sample rate, which differs between compatible servers.
            async with self._client.audio.speech.with_streaming_response.create(
                input=text, model=self.model, voice=self.voice, response_format="wav", **more
            ) as answer:
                async for chunk in answer.iter_bytes(_CHUNK_BYTES):
                    yield chunk
        except openai.OpenAIError as error:
            raise self._told(error) from None
        except httpx2.TimeoutException:  # in the middle of the audio the library lets these pass
            raise service.slow() from None
        except httpx2.HTTPError:
            raise service.unreachable() from None

    def _told(self, error: openai.OpenAIError) -> JobError:
        service = self._speaker.service
        found = as_job_error(error, service)
        if found.problem_code != "provider-invalid" or not isinstance(error, openai.APIStatusError):
            return found
        word = word_of(error.body)
        if "voice" in word or error.param == "voice":
            return service.unknown("voice", self.voice, _VOICES)
        if "model" in word or error.status_code == 404:
            return invalid(
                f"OpenAI has no speech model {self.model!r} for this key. Name another in model_id; tts-1 and "
                "gpt-4o-mini-tts are usual ones."
            )
        return found
