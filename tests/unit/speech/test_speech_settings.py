"""Keys, addresses and formats of speech, as an operator writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from callboard_llm.settings import ELEVENLABS_URL, SpeechSettings
from callboard_llm.speech.elevenlabs import ElevenLabsSpeaker


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ELEVENLABS_API_KEY", "ELEVENLABS_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("given", "url"),
    [(" ", ELEVENLABS_URL), ("https://api.eu.residency.elevenlabs.io/v1/", "https://api.eu.residency.elevenlabs.io"),
     ("http://127.0.0.1:9", "http://127.0.0.1:9")],
)  # fmt: skip
def test_an_address_may_be_blank_and_may_end_in_v1(
    given: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELEVENLABS_BASE_URL", given)
    assert SpeechSettings().elevenlabs_base_url == url


def test_a_key_is_trimmed_may_be_blank_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", " ")
    assert SpeechSettings().elevenlabs_api_key is None and not ElevenLabsSpeaker(SpeechSettings()).ready
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_planted\n")
    settings = SpeechSettings()
    assert settings.elevenlabs_api_key and settings.elevenlabs_api_key.get_secret_value() == "sk_planted"
    assert ElevenLabsSpeaker(settings).ready and "planted" not in repr(settings)


@pytest.mark.parametrize(("name", "value"), [("ELEVENLABS_API_KEY", "sk_secret secret"),
                                             ("ELEVENLABS_BASE_URL", "secret.example")])  # fmt: skip
def test_what_cannot_be_right_is_refused_and_not_repeated(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        SpeechSettings()
    assert name in str(refused.value) and "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("output_format", "rate", "raw"),
    [("mp3_44100_128", 44_100, None), ("pcm_24000", 24_000, 24_000), ("opus_48000_64", 48_000, None)],
)
def test_the_format_fetched_decides_how_it_is_decoded(
    output_format: str, rate: int, raw: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLBOARD_ELEVENLABS_OUTPUT_FORMAT", output_format)
    limits = ElevenLabsSpeaker(SpeechSettings()).limits
    assert (limits.sample_rate, limits.raw_rate) == (rate, raw)


@pytest.mark.parametrize("output_format", ["ulaw_8000", "mp3", "../x"])
def test_a_format_that_cannot_be_joined_is_refused(
    output_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLBOARD_ELEVENLABS_OUTPUT_FORMAT", output_format)
    with pytest.raises(ValidationError):
        SpeechSettings()
