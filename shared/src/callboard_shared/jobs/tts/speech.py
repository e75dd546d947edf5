"""Texts to speech."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from callboard_shared.jobs.base import FileReference, Input, JobType, Limits, Output

MAX_SPEECH_CHARS = 100_000
"""About two hours of speech."""
DEFAULT_SPEECH_MODEL = "eleven_multilingual_v2"

SpeechProvider = Literal["elevenlabs", "openai", "local"]
AudioFormat = Literal["mp3", "wav", "ogg", "flac", "opus"]
SampleRate = Literal[8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f]")
_BITRATE = re.compile(r"(\d{1,3})k?")
_LEAST_KBITS, _MOST_KBITS = 8, 512
_ELEVENLABS_SPEED = (0.7, 1.2)


def _speakable(text: str) -> str:
    found = _CONTROL.search(text)
    if found:
        raise ValueError(
            f"the text has a control character (U+{ord(found[0]):04X}) at position {found.start()}; remove it"
        )
    if not any(character.isalnum() for character in text):
        raise ValueError("there is nothing to speak: the text has no letter and no digit")
    return text


def _kbits(value: int | str) -> int:
    """``128``, ``"128k"`` and ``128000`` are the same; as kilobits."""
    if isinstance(value, str):
        found = _BITRATE.fullmatch(value.strip().lower())
        if not found:
            raise ValueError("a bitrate is written like 128, '128k' or 128000")
        value = int(found[1])
    kbits = value // 1000 if value >= 1000 else value
    if not _LEAST_KBITS <= kbits <= _MOST_KBITS:
        raise ValueError(f"a bitrate is {_LEAST_KBITS} to {_MOST_KBITS} kbit/s")
    return kbits


class VoiceSettings(Input):
    """How the voice speaks; what is left out stays as the voice has it. The local voice and OpenAI know ``speed``
    alone, and the output says what was left out."""

    stability: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Low: livelier; below 0.3 words may be mispronounced or skipped.",
    )
    similarity_boost: float | None = Field(default=None, ge=0, le=1)
    style: float | None = Field(default=None, ge=0, le=1, description="How much the style is exaggerated.")
    use_speaker_boost: bool | None = None
    speed: float | None = Field(
        default=None, ge=0.25, le=4, description="1 is normal; ElevenLabs: 0.7 to 1.2."
    )


class SpeechInput(Input):
    text: Annotated[
        str, StringConstraints(min_length=1, max_length=MAX_SPEECH_CHARS), AfterValidator(_speakable)
    ] = Field(description="What is spoken: 1 to 100,000 characters, at least one letter or digit among them.")
    voice: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = Field(
        default=None, description="By id or name, see GET /v1/voices; the provider's default if not given."
    )
    provider: Literal["auto", "elevenlabs", "openai", "local"] = Field(
        default="auto",
        description="auto: ElevenLabs if the worker has a key for it, else OpenAI if it has one, else local.",
    )
    model_id: Annotated[
        str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][\w.:/-]*$")
    ] = Field(
        default=DEFAULT_SPEECH_MODEL,
        description="The provider's model; OpenAI takes its own default for one of ElevenLabs' names.",
    )
    voice_settings: VoiceSettings | None = None
    format: AudioFormat = Field(default="mp3", description="ogg is Vorbis in Ogg, opus is Opus in Ogg.")
    bitrate: Annotated[int | str, AfterValidator(_kbits)] | None = Field(
        default=None, description="128, `128k` or 128000; for mp3, ogg and opus."
    )
    sample_rate: SampleRate | None = Field(
        default=None, description="Hz; the voice's own if not given. Opus always plays at 48,000."
    )
    channels: Literal[1, 2] = Field(default=1, description="2: the same on both sides.")
    normalize: bool = Field(
        default=False, description="Bring the loudness to −16 LUFS (EBU R 128), peaks to at most −1.5 dBTP."
    )

    @model_validator(mode="after")
    def _speed_of_the_provider(self) -> Self:
        speed = self.voice_settings.speed if self.voice_settings else None
        low, high = _ELEVENLABS_SPEED
        if self.provider == "elevenlabs" and speed is not None and not low <= speed <= high:
            raise ValueError(f"ElevenLabs takes a voice_settings.speed of {low} to {high}")
        return self


class SpeechOutput(Output):
    file: FileReference
    duration_s: float = Field(description="Of the speech as it was made, before it was compressed.")
    sample_rate: int = Field(description="Hz, as the file plays.")
    characters: int = Field(description="Of the text.")
    provider: SpeechProvider
    voice: str
    warnings: list[str] = Field(default_factory=list)


SPEECH = JobType(
    name="tts.speech",
    queue="tts",
    input=SpeechInput,
    output=SpeechOutput,
    summary="Speak a text: ElevenLabs, OpenAI, or an English voice that needs neither key nor network.",
    example={"text": "The 9:40 to Busan is now boarding at platform two.", "format": "mp3"},
    limits=Limits(timeout_s=1800),
)
