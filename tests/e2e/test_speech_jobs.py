"""Speech over HTTP on the embedded default: a real voice, decoded and measured."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from hearing import hear, loudness_lufs
from over_http import content, ended, error, first_step, run, submit

pytestmark = pytest.mark.models

SENTENCE = "The nine forty to Busan is now boarding at platform two."
PARAGRAPH = " ".join(
    f"This is sentence number {n}, and it is spoken after the one before." for n in range(1, 13)
)
OWN_RATE = 22_050


def speak(http: httpx.Client, text: str = SENTENCE, **value: Any) -> dict[str, Any]:
    output: dict[str, Any] = run(http, "tts.speech", {"text": text, "provider": "local", **value})
    return output


@pytest.mark.parametrize(
    ("audio_format", "codec", "media_type", "rate"),
    [
        ("mp3", "mp3", "audio/mpeg", OWN_RATE),
        ("wav", "pcm_s16le", "audio/wav", OWN_RATE),
        ("ogg", "vorbis", "audio/ogg", OWN_RATE),
        ("flac", "flac", "audio/flac", OWN_RATE),
        ("opus", "opus", "audio/ogg", 48_000),
    ],
)
def test_a_sentence_is_spoken_in_every_format(
    audio_format: str, codec: str, media_type: str, rate: int, http: httpx.Client
) -> None:
    output = speak(http, format=audio_format)
    assert set(output) == {
        "file", "duration_s", "sample_rate", "characters", "provider", "voice", "warnings"
    }  # fmt: skip
    assert (output["provider"], output["voice"], output["warnings"]) == ("local", "joe", [])
    assert (output["characters"], output["sample_rate"]) == (len(SENTENCE), rate)
    sound = hear(content(http, output["file"]))
    assert (sound.codec, sound.sample_rate, sound.channels) == (codec, rate, 1)
    assert sound.duration_s == pytest.approx(
        output["duration_s"], abs=0.12
    )  # mp3 and opus pad to whole frames
    assert 2 < sound.duration_s < 7
    assert -35 < sound.loudness_dbfs < -8
    assert sound.speaking() > 0.5
    answer = http.get(output["file"]["url"])
    assert answer.headers["content-type"] == output["file"]["media_type"] == media_type
    assert f"speech.{audio_format}" in answer.headers["content-disposition"]


def test_sample_rate_channels_and_bitrate_are_as_asked(http: httpx.Client) -> None:
    output = speak(http, format="mp3", sample_rate=44_100, channels=2, bitrate="192k")
    sound = hear(content(http, output["file"]))
    assert (sound.sample_rate, sound.channels, output["sample_rate"]) == (44_100, 2, 44_100)
    assert sound.kbits == pytest.approx(192, abs=4)
    small = speak(http, format="opus", bitrate=16)
    assert small["file"]["bytes"] < output["file"]["bytes"] / 6


@pytest.mark.parametrize(
    ("value", "warned"),
    [
        ({"format": "wav", "bitrate": 128}, "wav has no bitrate"),
        ({"format": "opus", "sample_rate": 16_000}, "48,000 Hz"),
        ({"format": "ogg", "bitrate": 320}, "cannot have 320 kbit/s"),
        ({"voice_settings": {"stability": 0.1}}, "0.1 is below 0.3"),
        ({"voice_settings": {"style": 0.5}}, "knows no style"),
    ],
)
def test_what_could_not_be_honoured_is_said(value: dict[str, Any], warned: str, http: httpx.Client) -> None:
    output = speak(http, "Short.", **value)
    assert any(warned in warning for warning in output["warnings"]), output["warnings"]
    assert hear(content(http, output["file"])).duration_s > 0.2


def test_the_loudness_is_that_of_the_norm_on_request(http: httpx.Client) -> None:
    output = speak(http, PARAGRAPH, format="wav", normalize=True)
    assert loudness_lufs(content(http, output["file"])) == pytest.approx(-16, abs=1)


def test_a_long_text_is_spoken_in_pieces_without_a_click_or_a_hole(http: httpx.Client) -> None:
    job = ended(http, submit(http, "tts.speech", {"text": PARAGRAPH, "provider": "local", "format": "flac"}))
    output, usage = job["output"], job["usage"]
    assert usage["characters"] == output["characters"] == len(PARAGRAPH)
    sound = hear(content(http, output["file"]))
    assert sound.duration_s == pytest.approx(output["duration_s"], abs=0.001)
    assert sound.duration_s == pytest.approx(12 * 4, rel=0.35)
    silences = [len(part) / sound.sample_rate for part in sound.parts()]
    assert len(silences) > 12
    longest_gap_s, quiet = 0.0, 0
    frame = sound.sample_rate // 100
    for at in range(0, len(sound.samples) - frame, frame):
        quiet = quiet + 1 if max(abs(sound.samples[at : at + frame])) < 0.01 else 0
        longest_gap_s = max(longest_gap_s, quiet / 100)
    assert longest_gap_s < 1.0


def test_a_faster_voice_takes_less_time(http: httpx.Client) -> None:
    slow = speak(http, voice_settings={"speed": 0.8})["duration_s"]
    fast = speak(http, voice_settings={"speed": 1.6})["duration_s"]
    assert slow / fast == pytest.approx(2, rel=0.25)


@pytest.mark.parametrize("text", ["안녕하세요, 반갑습니다.", "Hello 여러분", "東京駅です。"])
def test_a_language_that_the_local_voice_does_not_speak_is_a_clear_final_error(
    text: str, http: httpx.Client
) -> None:
    failed = error(http, "tts.speech", {"text": text, "provider": "local"})
    assert failed["code"] == "language-not-supported"
    assert "ELEVENLABS_API_KEY" in failed["detail"] and text not in failed["detail"]


def test_an_unknown_voice_is_a_final_error_that_names_those_there_are(http: httpx.Client) -> None:
    failed = error(http, "tts.speech", {"text": SENTENCE, "provider": "local", "voice": "Zarvox"})
    assert failed["code"] == "provider-invalid" and "joe" in failed["detail"]


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"text": ""}, "input.text"), ({"text": "😀🎉"}, "input.text"), ({"text": "…!?"}, "input.text"),
        ({"text": "a\u0007b"}, "input.text"), ({"text": "a" * 100_001}, "input.text"), ({}, "input.text"),
        ({"text": "a", "voice_settings": {"stability": 2}}, "input.voice_settings.stability"),
        ({"text": "a", "format": "aac"}, "input.format"), ({"text": "a", "bitrate": "fast"}, "input.bitrate"),
        ({"text": "a", "sample_rate": 44_000}, "input.sample_rate"), ({"text": "a", "tempo": 1}, "input.tempo"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_bad_input_is_refused_at_its_field(value: dict[str, Any], field: str, http: httpx.Client) -> None:
    answer = http.post("/v1/jobs", json={"type": "tts.speech", "input": value})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation")
    assert [one["field"] for one in answer.json()["errors"]] == [field]


def test_a_cancel_stops_a_long_text_within_a_second(http: httpx.Client) -> None:
    job = submit(http, "tts.speech", {"text": PARAGRAPH * 20, "provider": "local"})
    first_step(http, job)
    began = time.monotonic()
    assert http.post(f"/v1/jobs/{job}/cancel").status_code in (200, 202)
    assert ended(http, job)["status"] == "canceled"
    assert time.monotonic() - began < 1


def test_several_texts_are_spoken_at_once_and_each_is_whole(http: httpx.Client) -> None:
    jobs = [submit(http, "tts.speech", {"text": f"Number {n}.", "provider": "local"}) for n in range(12)]
    for job in jobs:
        output = ended(http, job)["output"]
        assert hear(content(http, output["file"])).speaking() > 0.2


def test_the_local_voice_is_listed(http: httpx.Client) -> None:
    voices = {(one["provider"], one["id"]): one for one in http.get("/v1/voices").json()["data"]}
    assert voices["local", "joe"]["default"] and voices["local", "joe"]["languages"] == ["en"]
