"""Settings of the LLM and speech worker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from callboard_llm.prices import Price
from callboard_shared.settings import Settings, cpu_count

OPENAI_URL = "https://api.openai.com/v1"
ELEVENLABS_URL = "https://api.elevenlabs.io"
_URL = r"^https?://[^\s/?#]+(/\S*)?$"


def _usable(value: object) -> object:
    if not isinstance(value, str):
        return value
    value = value.strip()
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("it holds characters that no key has; copy it anew")
    return value or None  # Compose passes what is not set as an empty text


ProviderKey = Annotated[SecretStr | None, BeforeValidator(_usable)]


class OpenAISettings(Settings):
    """OpenAI, or any server that speaks its protocol. The names are those that OpenAI's own library knows."""

    model_config = SettingsConfigDict(hide_input_in_errors=True, populate_by_name=True)

    openai_api_key: ProviderKey = Field(
        default=None,
        validation_alias=AliasChoices("OPENAI_API_KEY"),
        description="Key of OpenAI (or of the server at OPENAI_BASE_URL), for chats and speech.",
    )
    openai_base_url: str = Field(
        default=OPENAI_URL,
        validation_alias=AliasChoices("OPENAI_BASE_URL"),
        pattern=_URL,
        description="Where it is, with `/v1`; any server that speaks OpenAI's protocol will do.",
    )
    openai_concurrency: int = Field(
        default=256, ge=1, description="Chats at once with OpenAI, per worker; others wait."
    )
    openai_requests_per_min: int = Field(
        default=0, ge=0, description="Chats a minute that one worker begins with OpenAI; 0: any number."
    )
    openai_silence_s: float = Field(
        default=60,
        gt=0,
        description="Seconds without a word after which OpenAI is given up, and tried again.",
    )
    openai_window: int | None = Field(
        default=None,
        ge=256,
        description="Tokens of one conversation with OpenAI, the answer included; by the model's name if not set.",
    )

    @field_validator("openai_base_url", mode="before")
    @classmethod
    def _or_the_usual(cls, value: object) -> object:
        return (value.strip().rstrip("/") or OPENAI_URL) if isinstance(value, str) else value


class LocalChatSettings(Settings):
    """The model that answers on this machine: a GGUF file, served by llama.cpp in a process of its own."""

    llm_local_model: Path | None = Field(
        default=None, description="A GGUF file with a chat template; the offline pack's if not set."
    )
    llm_local_window: int = Field(
        default=2048, ge=256, description="Tokens of one conversation, the answer included."
    )
    llm_local_threads: int = Field(
        default_factory=lambda: max(1, min(4, cpu_count() // 2)),
        ge=1,
        description="Threads that compute; more than there are idle cores make it much slower.",
    )
    llm_local_concurrency: int = Field(
        default=4, ge=1, le=64, description="Chats at once; others wait. Each takes memory for its window."
    )
    llm_local_max_tokens: int = Field(
        default=512, ge=1, description="Longest answer unless the job says max_tokens."
    )


class SpeechSettings(Settings):
    """Who speaks, besides OpenAI with its key above. A provider without a key is not asked."""

    model_config = SettingsConfigDict(hide_input_in_errors=True, populate_by_name=True)

    elevenlabs_api_key: ProviderKey = Field(
        default=None,
        validation_alias=AliasChoices("ELEVENLABS_API_KEY"),
        description="Key of ElevenLabs, for speech.",
    )
    elevenlabs_base_url: str = Field(
        default=ELEVENLABS_URL,
        validation_alias=AliasChoices("ELEVENLABS_BASE_URL"),
        pattern=_URL,
        description="Where it is, without `/v1`; for a proxy or an address in the EU.",
    )
    elevenlabs_voice: str = Field(
        default="JBFqnCBsd6RMkjVDRZzb", description="The voice if a job names none, by id or name (George)."
    )
    elevenlabs_output_format: str = Field(
        default="mp3_44100_128",
        pattern=r"^(mp3|pcm|wav|opus)_\d{4,5}(_\d{2,3})?$",
        description="What is fetched; better ones need a larger plan (`mp3_44100_192`, `pcm_44100`).",
    )
    elevenlabs_concurrency: int = Field(
        default=2, ge=1, description="Requests at a time; every plan has 2, larger ones more."
    )
    elevenlabs_requests_per_min: int = Field(
        default=0,
        ge=0,
        description="Requests a minute that one worker begins with ElevenLabs; 0: any number.",
    )
    openai_speech_model: str = Field(
        default="gpt-4o-mini-tts", description="OpenAI's model where a job names none of OpenAI's."
    )
    openai_speech_voice: str = Field(default="alloy", description="OpenAI's voice if a job names none.")
    openai_speech_concurrency: int = Field(default=8, ge=1, description="Requests for speech at a time.")
    openai_speech_requests_per_min: int = Field(
        default=0, ge=0, description="Requests for speech a minute that one worker begins; 0: any number."
    )
    local_voice_threads: int = Field(
        default_factory=cpu_count, ge=1, description="Texts that the local voice speaks at a time; all cores."
    )
    speech_timeout_s: float = Field(
        default=120, gt=0, description="Seconds that a provider has for one piece of a text."
    )

    @field_validator("elevenlabs_base_url", mode="before")
    @classmethod
    def _or_the_usual(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return value.strip().rstrip("/").removesuffix("/v1") or ELEVENLABS_URL


class LlmSettings(Settings):
    """How many jobs one worker holds, and what tokens cost."""

    llm_slots: int = Field(default=256, ge=1, description="Jobs at once in one worker, per queue.")
    llm_prices: dict[str, Price] = Field(
        default={},
        description="US dollars per million tokens, besides the table in the code or instead: "
        '`{"gpt-4o": {"input": 2.5, "cached_input": 1.25, "output": 10}}`.',
    )
