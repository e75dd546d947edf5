"""The keys of providers go to the providers, and nowhere else that anybody could look: with providers that repeat them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import openai_server
import pytest
import speech_server
from openai_server import Fault, OpenAIDouble
from over_http import ended, run, submit
from speech_server import Error, SpeechDouble, serving

from callboard_embedded.stack import Stack

KEYS = (openai_server.KEY, speech_server.ELEVENLABS_KEY)
QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}


@pytest.fixture(scope="module")
def chats() -> Iterator[OpenAIDouble]:
    running = OpenAIDouble().start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def voices() -> Iterator[SpeechDouble]:
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def own_stack(
    chats: OpenAIDouble, voices: SpeechDouble, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """With keys, and as talkative as can be."""
    folder = tmp_path_factory.mktemp("keys")
    env = {
        "CALLBOARD_WORKERS": "nlp=0,nlp-train=0,vision=0,vision-train=0", "CALLBOARD_LOG_LEVEL": "DEBUG",
        "OPENAI_API_KEY": openai_server.KEY, "OPENAI_BASE_URL": chats.url,
        "ELEVENLABS_API_KEY": speech_server.ELEVENLABS_KEY, "ELEVENLABS_BASE_URL": voices.url,
    }  # fmt: skip
    with Stack(folder / "home", env=env, output=folder / "output.txt") as stack:
        yield stack


def test_no_key_is_in_a_job_an_event_a_problem_a_metric_a_log_or_a_file(
    own_stack: Stack, chats: OpenAIDouble, voices: SpeechDouble
) -> None:
    headers = {"Authorization": f"Bearer {own_stack.key}"}
    with httpx.Client(base_url=own_stack.url, headers=headers, timeout=90) as http:
        assert run(http, "llm.chat", QUESTION)["provider"] == "openai"
        assert run(http, "tts.speech", {"text": "One."})["provider"] == "elevenlabs"
        chats.plan += [Fault(400, "invalid_value", f"Your key is {KEYS[0]}."), openai_server.bad_key(KEYS[0])]
        voices.script.append(Error(500))
        jobs = [submit(http, "llm.chat", QUESTION), submit(http, "llm.chat", QUESTION),
                submit(http, "tts.speech", {"text": "Two."}, max_attempts=1)]  # fmt: skip
        failed = [ended(http, job) for job in jobs]
        assert {job["status"] for job in failed} == {"failed"}
        paths = ["/metrics", "/readyz", "/openapi.json", *(f"/v1/{name}" for name in (
            "jobs", "usage", "workers", "queues", "models", "voices", "job-types"))]  # fmt: skip
        for job in jobs:
            paths += [f"/v1/jobs/{job}", f"/v1/jobs/{job}/events"]
        told = {path: http.get(path) for path in paths}
    assert all(answer.status_code == 200 for answer in told.values())
    written = _files(own_stack.home.parent)
    assert b"worker.online" in b"".join(written.values()), "or the test shows nothing"
    assert b"llm.chat" in b"".join(written.values())
    for key in KEYS:
        part = key[:16]
        assert [path for path, answer in told.items() if part in answer.text] == []
        assert [path for path, content in written.items() if part.encode() in content] == []


def _files(folder: Path) -> dict[Path, bytes]:
    """What the stack has written: its log, its ledger's log of commands, its files."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
