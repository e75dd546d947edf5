"""Speech across workers: one that is killed, and what each takes by its keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hearing import hear
from speech_desk import Desk
from speech_server import OPENAI_KEY, Drip, Error, Hold, SpeechDouble, pitch_of
from trials import until

PIECES = " ".join(f"{n} {'word ' * 380}ends." for n in range(1, 6))


@pytest.fixture(autouse=True)
def _no_worker_outlives_its_test(desk: Desk) -> Iterator[None]:
    yield
    desk.end_workers()


def test_another_worker_pays_only_for_what_a_killed_one_left(desk: Desk, double: SpeechDouble) -> None:
    hold = Hold()
    double.by_text = {"5 word": hold}
    first = desk.worker()
    job = desk.submit(PIECES, format="wav")
    assert hold.began.wait(20)
    until(lambda: desk.kept() == 4, 10, "four pieces are kept")
    first.kill()
    hold.let_go.set()
    desk.worker()
    output = desk.output(job)
    assert desk.record(job).attempt == 2
    assert sorted(text.split()[0] for text in double.texts) == ["1", "2", "3", "4", "5", "5"]
    assert hear(desk.content(output)).pitches() == [pitch_of(n) for n in range(1, 6)]
    assert not list(desk.folder.glob("callboard-speech-*")), (
        "what the killed one left on the disk is gone too"
    )


def test_without_an_elevenlabs_key_auto_is_openai(desk: Desk, double: SpeechDouble) -> None:
    desk.worker(ELEVENLABS_API_KEY="")
    assert desk.speak("One.")["provider"] == "openai"
    error = desk.error(desk.submit("One.", provider="elevenlabs"))
    assert (error["code"], error["retryable"]) == ("provider-unauthorized", False)
    assert "ELEVENLABS_API_KEY" in error["detail"] and len(double.texts) == 1


def test_without_any_key_auto_is_the_local_voice(desk: Desk, double: SpeechDouble) -> None:
    desk.worker(ELEVENLABS_API_KEY="", OPENAI_API_KEY="")
    output = desk.speak("Hello.")
    assert (output["provider"], output["voice"]) == ("local", "joe") and not double.heard


@pytest.mark.parametrize("provider", ["elevenlabs", "openai"])
def test_a_wrong_key_is_final_and_never_shown(provider: str, desk: Desk) -> None:
    wrong = "sk-" + "0bad" * 12
    worker = desk.worker(ELEVENLABS_API_KEY=wrong, OPENAI_API_KEY=wrong)
    job = desk.submit("One.", provider=provider)
    error = desk.error(job)
    assert (error["code"], desk.record(job).attempt) == ("provider-unauthorized", 1)
    worker.stop(30)
    seen = str(error) + str(desk.events(job)) + worker.output()
    assert wrong not in seen and wrong[:12] not in seen and OPENAI_KEY not in seen


def test_a_provider_that_is_not_there_is_tried_again(desk: Desk) -> None:
    desk.worker(ELEVENLABS_BASE_URL="http://127.0.0.1:9", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    for provider, variable in (("elevenlabs", "ELEVENLABS_BASE_URL"), ("openai", "OPENAI_BASE_URL")):
        error = desk.error(desk.submit("One.", provider=provider, attempts=1))
        assert (error["code"], error["retryable"]) == ("provider-unavailable", True)
        assert variable in error["detail"]


def test_what_is_too_much_waits_its_turn_and_its_time_limit_with_it(desk: Desk, double: SpeechDouble) -> None:
    desk.worker(CALLBOARD_ELEVENLABS_CONCURRENCY="1")
    double.script.extend(Drip(0.03) for _ in range(6))  # a second each
    jobs = [desk.submit(f"{n}.", format="wav", timeout_ms=4_000) for n in range(6)]
    records = desk.trial.ended(jobs, 60, "tts")
    assert {(record.status, record.attempt) for record in records} == {("succeeded", 1)}
    assert double.most_at_once == 1
    assert sum("takes 1 at once" in str(desk.events(job)) for job in jobs) >= 4


def test_when_a_provider_has_had_enough_no_other_job_is_sent_either(desk: Desk, double: SpeechDouble) -> None:
    desk.worker()
    double.script.append(Error(429, "system_busy", {"Retry-After": "1.5"}))
    refused = desk.submit("1.")
    until(lambda: desk.record(refused).status == "scheduled", 10, "it is refused")
    other = desk.submit("2.")
    desk.output(other)
    desk.output(refused)
    first, *later = double.heard
    assert min(one.at for one in later) - first.at >= 1.5
