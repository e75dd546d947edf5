"""ElevenLabs (https://elevenlabs.io/docs/api-reference/text-to-speech/convert) over httpx."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx
import orjson

from callboard_llm.faults import Service, word_of
from callboard_llm.settings import SpeechSettings
from callboard_llm.speech.interface import Limits
from callboard_shared.errors import JobError
from callboard_shared.jobs.tts import SpeechInput, SpeechProvider
from callboard_shared.voices import VoiceInfo

_ID = re.compile(r"[A-Za-z0-9]{20}")
_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PIECE_CHARS = 2_000
"""Its smallest limit of a request is that of eleven_v3, 3,000 characters."""
_MOST_ERROR_BYTES = 64 * 1024


class ElevenLabsSpeaker:
    name: SpeechProvider = "elevenlabs"

    def __init__(self, settings: SpeechSettings) -> None:
        self.service = Service(
            "ElevenLabs",
            "ELEVENLABS_API_KEY",
            "ELEVENLABS_BASE_URL",
            "CALLBOARD_SPEECH_TIMEOUT_S",
            settings.elevenlabs_api_key,
        )
        kind, rate, *_ = settings.elevenlabs_output_format.split("_")
        self.limits = Limits(
            settings.elevenlabs_concurrency, _PIECE_CHARS, int(rate), int(rate) if kind == "pcm" else None,
            per_min=settings.elevenlabs_requests_per_min, timeout_s=settings.speech_timeout_s,
        )  # fmt: skip
        self._settings = settings

    @property
    def ready(self) -> bool:
        """Whether there is a key."""
        return self._settings.elevenlabs_api_key is not None

    async def voices(self) -> list[VoiceInfo]:
        async with self._client() as client:
            return await self._voices(client)

    @asynccontextmanager
    async def begin(self, value: SpeechInput) -> AsyncIterator[ElevenLabsSpeaking]:
        async with self._client() as client:
            voice_id, name = await self._resolve(client, value.voice or self._settings.elevenlabs_voice)
            given = value.voice_settings.model_dump(exclude_none=True) if value.voice_settings else {}
            yield ElevenLabsSpeaking(self, client, voice_id, name, value.model_id, given)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        key = self._settings.elevenlabs_api_key
        if key is None:
            raise self.service.without_key()
        timeout = httpx.Timeout(self._settings.speech_timeout_s, connect=10, pool=None)
        url, headers = self._settings.elevenlabs_base_url, {"xi-api-key": key.get_secret_value()}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout, verify=_tls()) as client:
            yield client

    async def _resolve(self, client: httpx.AsyncClient, given: str) -> tuple[str, str]:
        """(id, name) of a voice by either. An id is taken as it is: it may be of the shared library."""
        if _ID.fullmatch(given):
            return given, given
        try:
            voices = await self._voices(client)
        except JobError as error:
            # A key may be allowed to speak and not to list.
            if error.retryable or not _SAFE.fullmatch(given):
                raise
            return given, given
        wanted = given.casefold()
        for voice in voices:
            # "Roger - Laid-Back, Casual" is known as Roger too.
            names = (voice.id, voice.name, voice.name.split(" - ")[0])
            if wanted in [name.casefold().strip() for name in names]:
                return voice.id, voice.name
        raise self.service.unknown("voice", given, [voice.name for voice in voices])

    async def _voices(self, client: httpx.AsyncClient) -> list[VoiceInfo]:
        default = self._settings.elevenlabs_voice
        body = await self._get(client, "/v1/voices")
        listed = body.get("voices") if isinstance(body, dict) else None
        return [
            VoiceInfo(
                id=str(one["voice_id"]), name=str(one.get("name") or one["voice_id"]), provider="elevenlabs",
                languages=_languages(one), default=default in (one["voice_id"], one.get("name")),
                description=one.get("description") or None, preview_url=one.get("preview_url") or None,
            )
            for one in listed or ()
            if isinstance(one, dict) and one.get("voice_id")
        ]  # fmt: skip

    async def models(self, client: httpx.AsyncClient) -> list[str]:
        body = await self._get(client, "/v1/models")
        return [
            str(one["model_id"])
            for one in (body if isinstance(body, list) else ())
            if isinstance(one, dict) and one.get("model_id") and one.get("can_do_text_to_speech", True)
        ]

    async def _get(self, client: httpx.AsyncClient, path: str) -> Any:
        try:
            answer = await client.get(path)
        except httpx.TimeoutException:
            raise self.service.slow() from None
        except httpx.HTTPError:
            raise self.service.unreachable() from None
        if answer.status_code != 200:
            raise self.service.of_status(answer.status_code, _word(answer.content), answer.headers)
        try:
            return orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            raise self.service.of_status(404) from None

    async def refusal(
        self, client: httpx.AsyncClient, answer: httpx.Response, asked: dict[str, str]
    ) -> JobError:
        """The error of an answer; one about the voice or model names those there are."""
        body = b""
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > _MOST_ERROR_BYTES:
                break
        word = _word(body)
        error = self.service.of_status(answer.status_code, word, answer.headers)
        about = next((what for what in ("model", "voice") if what in word), None)
        if error.problem_code != "provider-invalid" or about is None:
            return error
        try:
            if about == "model":
                return self.service.unknown("model", asked["model"], await self.models(client))
            known = [f"{voice.name} ({voice.id})" for voice in await self._voices(client)]
            return self.service.unknown("voice", asked["voice"], known)
        except JobError:
            return error

    @property
    def output_format(self) -> str:
        return self._settings.elevenlabs_output_format


@dataclass(frozen=True, slots=True)
class ElevenLabsSpeaking:
    _speaker: ElevenLabsSpeaker
    _client: httpx.AsyncClient = field(repr=False)
    voice_id: str
    voice: str
    model_id: str
    voice_settings: dict[str, Any]
    warnings: tuple[str, ...] = ()

    @property
    def settings(self) -> str:
        settings = orjson.dumps(self.voice_settings, option=orjson.OPT_SORT_KEYS).decode()
        return f"{self.voice_id} {self.model_id} {self._speaker.output_format} {settings}"

    async def speak(self, text: str) -> AsyncGenerator[bytes]:
        service = self._speaker.service
        body: dict[str, Any] = {"text": text, "model_id": self.model_id}
        if self.voice_settings:
            body["voice_settings"] = self.voice_settings
        request = self._client.build_request(
            "POST", f"/v1/text-to-speech/{self.voice_id}", json=body,
            params={"output_format": self._speaker.output_format},
        )  # fmt: skip
        try:
            answer = await self._client.send(request, stream=True)
            try:
                if answer.status_code != 200:
                    asked = {"model": self.model_id, "voice": self.voice}
                    raise await self._speaker.refusal(self._client, answer, asked)
                async for chunk in answer.aiter_bytes():
                    yield chunk
            finally:
                await answer.aclose()
        except httpx.TimeoutException:
            raise service.slow() from None
        except httpx.HTTPError:
            raise service.unreachable() from None


@cache
def _tls() -> ssl.SSLContext:
    """Made once: it reads the certificates of all authorities."""
    return httpx.create_ssl_context()


def _word(body: bytes) -> str:
    try:
        return word_of(orjson.loads(body))
    except orjson.JSONDecodeError:
        return ""


def _languages(voice: dict[str, Any]) -> list[str]:
    verified = voice.get("verified_languages")
    listed = (
        [one.get("language") for one in verified if isinstance(one, dict)]
        if isinstance(verified, list)
        else []
    )
    return sorted({language for language in listed if isinstance(language, str)})
