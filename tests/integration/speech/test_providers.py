"""Speech by ElevenLabs' and OpenAI's protocols, by a real worker against a double that speaks them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hearing import hear, loudness_lufs
from speech_desk import Desk
from speech_server import (
    ELEVENLABS_KEY,
    GEORGE,
    OPENAI_KEY,
    ROGER,
    TONE_S,
    Break,
    Drip,
    Error,
    Hold,
    Noise,
    SpeechDouble,
    pitch_of,
)
from trials import until


@pytest.fixture(scope="module")
def desk(desk: Desk) -> Desk:
    """One worker with both keys, for all tests here: none of them ends it."""
    desk.worker(CALLBOARD_SPEECH_TIMEOUT_S="3", CALLBOARD_ELEVENLABS_CONCURRENCY="3")
    return desk


def long_text(pieces: int, filler: str = "word ") -> str:
    """A text that is cut into so many pieces, of which the n-th says n first."""
    return " ".join(f"{n} {filler * 380}ends." for n in range(1, pieces + 1))


def test_a_text_is_spoken_as_elevenlabs_documents_it(desk: Desk, double: SpeechDouble) -> None:
    output = desk.speak(
        "Number 3, please.", voice_settings={"stability": 0.5, "style": 0.1}, model_id="eleven_v3"
    )
    (heard,) = double.heard
    assert heard.path == f"/v1/text-to-speech/{GEORGE}" and heard.query == {"output_format": "mp3_44100_128"}
    assert heard.headers["xi-api-key"] == ELEVENLABS_KEY
    assert heard.body == {
        "text": "Number 3, please.", "model_id": "eleven_v3", "voice_settings": {"stability": 0.5, "style": 0.1},
    }  # fmt: skip
    assert (output["provider"], output["voice"], output["warnings"]) == ("elevenlabs", GEORGE, [])
    assert (output["characters"], output["sample_rate"]) == (17, 44_100)
    assert output["file"]["media_type"] == "audio/mpeg"
    sound = hear(desk.content(output))
    assert (sound.codec, sound.sample_rate, sound.channels) == ("mp3", 44_100, 1)
    assert sound.pitches() == [pitch_of(3)]
    assert output["duration_s"] == pytest.approx(TONE_S, abs=0.1)


def test_a_text_is_spoken_by_openai_through_its_sdk(desk: Desk, double: SpeechDouble) -> None:
    output = desk.speak(
        "Number 4.",
        provider="openai",
        voice="nova",
        voice_settings={"speed": 1.5, "style": 0.2},
        format="flac",
    )
    (heard,) = double.heard
    assert heard.headers["authorization"] == f"Bearer {OPENAI_KEY}"
    assert heard.body == {
        "input": "Number 4.", "model": "gpt-4o-mini-tts", "voice": "nova", "response_format": "wav", "speed": 1.5
    }  # fmt: skip
    assert (output["provider"], output["voice"]) == ("openai", "nova")
    assert output["warnings"] == ["OpenAI knows no style; it was left out."]
    sound = hear(desk.content(output))
    assert (sound.codec, sound.sample_rate, sound.pitches()) == ("flac", 24_000, [pitch_of(4)])
    assert (
        sound.duration_s == pytest.approx(output["duration_s"], abs=0.001) == pytest.approx(TONE_S, abs=0.001)
    )


def test_a_voice_is_found_by_its_name_and_by_the_first_part_of_it(desk: Desk, double: SpeechDouble) -> None:
    for name in ("roger", "Roger - Laid-Back, Casual", ROGER):
        desk.speak("One.", voice=name)
    assert [one.path for one in double.heard] == [f"/v1/text-to-speech/{ROGER}"] * 3


def test_a_long_text_is_spoken_in_parallel_and_joined_in_order(desk: Desk, double: SpeechDouble) -> None:
    job = desk.submit(long_text(7), format="wav")
    output = desk.output(job)
    assert len(double.texts) == 7 and double.most_at_once == 3
    assert max(map(len, double.texts)) <= 2_000
    sound = hear(desk.content(output))
    assert sound.pitches() == [pitch_of(n) for n in range(1, 8)]
    assert sound.duration_s == pytest.approx(output["duration_s"], abs=0.001)
    steps = [data["step"] for kind, data in desk.events(job) if kind == "progress" and data["step"]]
    assert steps == sorted(steps) and steps[-1] == 7
    assert (
        desk.record(job).usage is not None
        and b'"characters":%d' % len(long_text(7)) in desk.record(job).usage
    )


def test_nothing_jumps_where_pieces_are_joined(desk: Desk) -> None:
    """The double's tones begin and end at full height, as loud as a click can be."""
    sound = hear(desk.content(desk.speak(long_text(3), provider="openai", format="wav")))
    largest = max(abs(sound.samples[1:] - sound.samples[:-1]))
    assert len(sound.parts()) > 3
    # A tone of 12,000 rises at most by its slope in one step: 2π f / rate of its height.
    highest = max(sound.pitches())
    assert largest < 1.15 * (12_000 / 32_768) * 6.2832 * highest / sound.sample_rate


def test_a_retry_pays_only_for_what_is_missing(desk: Desk, double: SpeechDouble) -> None:
    double.by_text = {"4 word": Error(500)}
    job = desk.submit(long_text(6), format="wav")
    output = desk.output(job)
    record = desk.record(job)
    assert record.attempt == 2
    first = [text.split()[0] for text in double.texts]
    assert sorted(first) == ["1", "2", "3", "4", "4", "5", "6"]
    assert hear(desk.content(output)).pitches() == [pitch_of(n) for n in range(1, 7)]
    assert len(desk.stored()) == len({path.name for path in desk.stored()})


def test_a_job_that_repeats_a_failed_one_pays_only_for_what_is_missing(
    desk: Desk, double: SpeechDouble
) -> None:
    double.by_text = {"2 word": Error(503)}
    assert desk.error(desk.submit(long_text(3), attempts=1, owner="key_r"))["code"] == "provider-unavailable"
    spoken = len(double.texts)
    double.heard.clear()
    assert desk.speak(long_text(3), owner="key_r")["provider"] == "elevenlabs"
    assert spoken == 3 and [text.split()[0] for text in double.texts] == ["2"]
    double.heard.clear()
    desk.speak(long_text(3), owner="key_r")
    assert len(double.texts) == 3, "after a success nothing is kept: another take is another take"


def test_nobody_elses_pieces_are_used(desk: Desk, double: SpeechDouble) -> None:
    double.by_text = {"2 word": Error(503)}
    desk.error(desk.submit(long_text(3), attempts=1, owner="key_x"))
    double.heard.clear()
    desk.speak(long_text(3), owner="key_y")
    assert len(double.texts) == 3


def test_pieces_are_gone_when_the_speech_is_made(desk: Desk, double: SpeechDouble) -> None:
    before = set(desk.stored())
    output = desk.speak(long_text(3), owner="key_z")

    def new() -> list[str]:
        return [path.name for path in set(desk.stored()) - before]

    until(lambda: new() == [output["file"]["file_id"]], 5, "only the speech is left")


def test_retry_after_is_honoured(desk: Desk, double: SpeechDouble) -> None:
    double.script.append(Error(429, "too_many_concurrent_requests", {"Retry-After": "2"}))
    began = time.monotonic()
    job = desk.submit("One.")
    desk.output(job)
    assert time.monotonic() - began >= 2 and desk.record(job).attempt == 2


@pytest.mark.parametrize("provider", ["elevenlabs", "openai"])
@pytest.mark.parametrize(
    ("step", "code", "retryable"),
    [
        (Error(401, "invalid_api_key"), "provider-unauthorized", False),
        (Error(401, "quota_exceeded"), "provider-unauthorized", False),
        (Error(402, "payment_required"), "provider-unauthorized", False),
        (Error(400, "content_policy_violation"), "provider-refused", False),
        (Error(422, "unprocessable_entity"), "provider-invalid", False),
        (Error(429, "rate_limit_exceeded"), "provider-rate-limited", True),
        (Error(500), "provider-unavailable", True),
        (Break(), "provider-unavailable", True),
        (Noise(), "provider-unavailable", True),
        (Drip(0.5), "provider-timeout", True),
    ],
    ids=lambda value: getattr(value, "word", value if isinstance(value, str) else type(value).__name__),
)
def test_what_goes_wrong_there_is_said_with_a_cure_and_without_secrets(
    provider: str, step: Any, code: str, retryable: bool, desk: Desk, double: SpeechDouble
) -> None:
    double.script.append(step)
    error = desk.error(desk.submit("A confidential sentence.", provider=provider, attempts=1))
    assert (error["code"], error["retryable"]) == (code, retryable)
    assert len(error["detail"]) > 60 and "confidential" not in error["detail"]
    assert ELEVENLABS_KEY not in str(error) and OPENAI_KEY not in str(error)
    assert len(double.texts) == 1, "the SDK does not pay again on its own"


@pytest.mark.parametrize("provider", ["elevenlabs", "openai"])
@pytest.mark.parametrize(
    ("value", "names"),
    [({"voice": "Nobody"}, ("Roger", "nova")), ({"model_id": "no-such"}, ("multilingual", "tts-1"))],
)
def test_an_unknown_voice_or_model_is_final_and_names_those_there_are(
    provider: str, value: dict[str, str], names: tuple[str, str], desk: Desk
) -> None:
    error = desk.error(desk.submit("One.", provider=provider, **value))
    assert (error["code"], error["retryable"]) == ("provider-invalid", False)
    assert names[provider == "openai"] in error["detail"], error["detail"]


def test_a_cancel_stops_the_providers_stream_within_a_second(desk: Desk, double: SpeechDouble) -> None:
    hold = Hold()
    double.script.append(hold)
    job = desk.submit("One.")
    assert hold.began.wait(10)
    desk.cancel(job)
    assert desk.ended(job, 1).status == "canceled"
    hold.let_go.set()
    assert until(lambda: not list(desk.folder.glob("callboard-speech-*")), 2, "nothing is left behind")


def test_both_providers_voices_and_the_local_one_are_announced(desk: Desk) -> None:
    until(lambda: len({voice.provider for voice in desk.voices()}) == 3, 15, "all are announced")
    voices = {(voice.provider, voice.name): voice for voice in desk.voices()}
    assert voices["elevenlabs", "George"].default and voices["elevenlabs", "George"].languages == ["en"]
    assert voices["openai", "alloy"].default and voices["local", "joe"].default
    assert voices["elevenlabs", "Roger - Laid-Back, Casual"].id == ROGER


def test_a_low_stability_carries_a_warning(desk: Desk) -> None:
    (warning,) = desk.speak("One.", voice_settings={"stability": 0.2})["warnings"]
    assert "0.2" in warning and "0.3" in warning


@pytest.mark.parametrize("pieces", [1, 3])
def test_the_loudness_is_that_of_the_norm_on_request(pieces: int, desk: Desk) -> None:
    quiet = desk.content(desk.speak(long_text(pieces), format="wav"))
    level = desk.content(desk.speak(long_text(pieces), format="wav", normalize=True))
    assert abs(loudness_lufs(quiet) + 16) > 0.8, "or the test shows nothing"
    assert loudness_lufs(level) == pytest.approx(-16, abs=0.5)


def test_the_keys_are_nowhere_and_no_text_is_in_a_log(desk: Desk) -> None:
    """Last of this file: the worker logged at DEBUG all the while, and the double repeated keys and texts."""
    logs, kept = desk.logs(), desk.trial.everything()
    assert "worker.online" in logs and b"confidential" in kept, "or the test shows nothing"
    assert "confidential" not in logs
    for key in (ELEVENLABS_KEY[:16], OPENAI_KEY[:16]):
        assert key not in logs and key.encode() not in kept
