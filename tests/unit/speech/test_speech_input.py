"""What tts.speech accepts, and how it refuses the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from callboard_shared.jobs.tts import MAX_SPEECH_CHARS, SPEECH, SpeechInput


def read(**fields: Any) -> SpeechInput:
    return SpeechInput.model_validate_json(json.dumps({"text": "Hello.", **fields}))


def refusal(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        read(**fields)
    first = caught.value.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def test_the_defaults_are_those_of_the_contract() -> None:
    value = read()
    assert (value.provider, value.model_id, value.format) == ("auto", "eleven_multilingual_v2", "mp3")
    assert (value.voice, value.voice_settings, value.bitrate, value.sample_rate) == (None, None, None, None)
    assert (value.channels, value.normalize) == (1, False)


@pytest.mark.parametrize("text", ["", "😀🎉", "...", "— !?", "   \n", "$ % &", "👨‍👩‍👧"])
def test_a_text_with_nothing_to_speak_is_refused(text: str) -> None:
    assert "text" in refusal(text=text)


@pytest.mark.parametrize("text", ["a", "1", "네", "½", "What?! 😀", "tab\tand\nline\r\n"])
def test_one_letter_or_digit_is_enough(text: str) -> None:
    assert read(text=text).text == text


@pytest.mark.parametrize(("text", "code"), [("a\x00b", "U+0000"), ("a\x1b[31m", "U+001B"), ("a\x7f", "U+007F"),
                                            ("a\x9b", "U+009B")])  # fmt: skip
def test_a_control_character_is_refused_by_its_name_and_place(text: str, code: str) -> None:
    said = refusal(text=text)
    assert code in said and "position 1" in said


def test_a_text_that_is_too_long_is_refused() -> None:
    assert read(text="a" * MAX_SPEECH_CHARS)
    assert "at most 100000" in refusal(text="a" * (MAX_SPEECH_CHARS + 1))


@pytest.mark.parametrize(
    "fields",
    [
        {"voice_settings": {"stability": 1.1}}, {"voice_settings": {"similarity_boost": -0.1}},
        {"voice_settings": {"style": 2}}, {"voice_settings": {"use_speaker_boost": "yes"}},
        {"voice_settings": {"speed": 0.1}}, {"voice_settings": {"pitch": 1}}, {"format": "aac"}, {"channels": 3},
        {"sample_rate": 44_000}, {"bitrate": "fast"}, {"bitrate": 4}, {"bitrate": 900_000}, {"bitrate": "1000k"},
        {"provider": "polly"}, {"voice": ""}, {"model_id": "a b"}, {"speed": 1},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_out_of_range_is_refused_at_its_field(fields: dict[str, Any]) -> None:
    assert refusal(**fields).startswith(next(iter(fields)))


@pytest.mark.parametrize("written", [128, "128", "128k", "128K", 128_000])
def test_a_bitrate_may_be_written_in_the_usual_ways(written: int | str) -> None:
    value = read(bitrate=written)
    assert value.bitrate == 128
    assert SpeechInput.model_validate(value.model_dump(), strict=False).bitrate == 128


def test_a_speed_that_elevenlabs_does_not_take_is_refused_where_it_is_named() -> None:
    assert "0.7 to 1.2" in refusal(provider="elevenlabs", voice_settings={"speed": 1.5})
    assert read(provider="openai", voice_settings={"speed": 1.5})


def test_speech_has_a_queue_of_its_own_and_an_example() -> None:
    assert (SPEECH.name, SPEECH.queue, SPEECH.batch) == ("tts.speech", "tts", None)
    assert SpeechInput.model_validate_json(json.dumps(SPEECH.example)).provider == "auto"
