"""The voices that workers announce. A record lasts a little longer than until its worker's next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import orjson

from callboard_shared.jobs.tts import SpeechProvider
from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call
from callboard_shared.voices import VoiceInfo

PROVIDERS: tuple[SpeechProvider, ...] = get_args(SpeechProvider)


def announce_voices(provider: SpeechProvider, voices: Sequence[VoiceInfo], ttl_ms: int) -> Call[bool]:
    """Say which voices a provider has; the latest worker that says so counts, for ``ttl_ms``."""
    record = orjson.dumps([voice.model_dump(exclude_none=True) for voice in voices])
    return Call(("SET", keys.VOICES + provider, record, "PX", ttl_ms), bool)


def list_voices() -> Call[list[VoiceInfo]]:
    """All that are announced, by provider."""
    return Call(
        ("MGET", *(keys.VOICES + provider for provider in PROVIDERS)),
        lambda reply: [VoiceInfo(**voice) for record in reply if record for voice in orjson.loads(record)],
    )
