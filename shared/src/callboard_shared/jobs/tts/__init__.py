"""Jobs of the speech queue."""

from callboard_shared.jobs.tts.speech import (
    DEFAULT_SPEECH_MODEL,
    MAX_SPEECH_CHARS,
    SPEECH,
    AudioFormat,
    SpeechInput,
    SpeechOutput,
    SpeechProvider,
    VoiceSettings,
)

__all__ = [
    "DEFAULT_SPEECH_MODEL", "MAX_SPEECH_CHARS", "SPEECH", "AudioFormat", "SpeechInput", "SpeechOutput",
    "SpeechProvider", "VoiceSettings",
]  # fmt: skip
