"""What ``GET /v1/voices`` says of a voice. Workers announce theirs, since only they know keys and what is installed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from callboard_shared.jobs.tts import SpeechProvider


class VoiceInfo(BaseModel):
    """A voice that ``tts.speech`` may name, by ``id`` or ``name``."""

    model_config = ConfigDict(extra="ignore")

    id: str
    name: str
    provider: SpeechProvider
    languages: list[str] = Field(
        default_factory=list,
        description="ISO 639 codes; empty if the provider names none, or it speaks many.",
    )
    default: bool = Field(default=False, description="Taken by its provider if a job names no voice.")
    description: str | None = None
    preview_url: str | None = None
