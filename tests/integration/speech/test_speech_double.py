"""ElevenLabs' own library works against the double as it does against ElevenLabs: only then is it a fair stand-in."""

from __future__ import annotations

import pytest
from elevenlabs import VoiceSettings
from elevenlabs.client import ElevenLabs
from elevenlabs.core import ApiError
from speech_server import ELEVENLABS_KEY, GEORGE, Error, SpeechDouble

MODEL = "eleven_multilingual_v2"


def client(double: SpeechDouble, key: str = ELEVENLABS_KEY) -> ElevenLabs:
    return ElevenLabs(base_url=double.url, api_key=key)


def test_the_library_has_a_text_spoken_as_it_was_told_to(double: SpeechDouble) -> None:
    settings = VoiceSettings(stability=0.5, similarity_boost=0.75, style=0.1, use_speaker_boost=True)
    spoken = client(double).text_to_speech.convert(
        GEORGE, text="안녕하세요.", model_id=MODEL, output_format="mp3_44100_128", voice_settings=settings
    )
    assert b"".join(spoken).startswith(b"ID3")
    heard = double.heard[-1]
    assert (heard.path, heard.query) == (f"/v1/text-to-speech/{GEORGE}", {"output_format": "mp3_44100_128"})
    assert heard.body["text"] == "안녕하세요." and heard.body["voice_settings"]["stability"] == 0.5


def test_the_library_lists_voices_and_models(double: SpeechDouble) -> None:
    voices = client(double).voices.get_all().voices
    assert (voices[0].voice_id, voices[0].name) == (GEORGE, "George")
    assert MODEL in [model.model_id for model in client(double).models.list()]


@pytest.mark.parametrize(
    ("voice", "key", "status", "word"),
    [
        ("nobody", ELEVENLABS_KEY, 404, "voice_not_found"),
        (GEORGE, "sk_wrong", 401, "invalid_api_key"),
    ],
)
def test_the_library_reads_the_refusals(
    double: SpeechDouble, voice: str, key: str, status: int, word: str
) -> None:
    with pytest.raises(ApiError) as refused:
        b"".join(client(double, key).text_to_speech.convert(voice, text="Hello.", model_id=MODEL))
    assert (refused.value.status_code, refused.value.body["detail"]["status"]) == (status, word)


def test_the_library_sees_trouble_as_trouble(double: SpeechDouble) -> None:
    double.script.append(Error(503, "system_busy"))
    with pytest.raises(ApiError) as trouble:
        b"".join(
            client(double).text_to_speech.convert(
                GEORGE, text="Hello.", model_id=MODEL, request_options={"max_retries": 0}
            )
        )
    assert trouble.value.status_code == 503
