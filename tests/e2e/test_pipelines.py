"""Pipelines on the embedded default: real models, and kills of everything that has a part in them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hearing import hear
from over_http import content

from callboard_client import Callboard, PipelineFailed
from callboard_embedded.folder import Folder
from callboard_embedded.processes import records
from callboard_embedded.stack import Stack

pytestmark = pytest.mark.models

CHAT = {
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "system": "Answer in one plain sentence.",
    "provider": "local",
    "temperature": 0,
    "max_tokens": 40,
}
SPOKEN = {
    "say": {"type": "llm.chat", "input": CHAT},
    "voice": {
        "type": "tts.speech",
        "input": {"text": "${say.output.message.content}", "provider": "local", "format": "wav"},
    },
}


@pytest.fixture
def callboard(stack: Stack) -> Iterator[Callboard]:
    with Callboard(stack.url, stack.key) as client:
        yield client


def test_a_chat_is_spoken(callboard: Callboard, http: httpx.Client) -> None:
    spoken = callboard.pipelines.run(SPOKEN, wait_s=150)
    assert spoken.output is not None and set(spoken.output) == {"voice"}
    say, voice = (spoken.steps[name].job for name in ("say", "voice"))
    assert say is not None and voice is not None and voice.input["text"] == say.output["message"]["content"]
    assert "Paris" in voice.input["text"]
    sound = hear(content(http, spoken.output["voice"]["file"]))
    assert sound.speaking() > 0.5 and sound.duration_s == pytest.approx(voice.output["duration_s"], abs=0.05)
    assert voice.started_at is not None and say.finished_at is not None
    assert (voice.started_at - say.finished_at).total_seconds() < 3


def test_its_words_stream_while_it_runs(http: httpx.Client) -> None:
    made = http.post("/v1/pipelines", json={"steps": SPOKEN}).json()
    with http.stream("GET", made["links"]["events"]) as events:
        kinds = [line.removeprefix("event: ") for line in events.iter_lines() if line.startswith("event: ")]
    assert kinds.count("delta") > 2 and kinds[-1] == "done"
    assert kinds.index("delta") < len(kinds) - 1 - kinds[::-1].index("status")


def test_a_message_of_a_kept_conversation_is_spoken(callboard: Callboard) -> None:
    talk = callboard.conversations.create(system="You answer in one short sentence.")
    chat = {
        "conversation_id": talk.id,
        "message": "What is the capital of Italy?",
        "temperature": 0,
        "max_tokens": 40,
    }
    steps = {"say": {"type": "llm.chat", "input": chat}, "voice": SPOKEN["voice"]}
    spoken = callboard.pipelines.run(steps, wait_s=150)
    history = list(callboard.conversations.messages(talk))
    assert [one.role for one in history] == ["user", "assistant"]
    assert spoken.steps["voice"].job is not None
    assert spoken.steps["voice"].job.input["text"] == history[1].content


def test_an_answer_that_cannot_be_spoken_fails_the_pipeline_and_says_why(callboard: Callboard) -> None:
    steps = {
        "say": {"type": "system.echo", "input": {"value": "안녕하세요"}},
        "voice": {"type": "tts.speech", "input": {"text": "${say.output.value}", "provider": "local"}},
    }
    with pytest.raises(PipelineFailed, match="Step 'voice'") as failed:
        callboard.pipelines.run(steps, wait_s=60)
    voice = failed.value.pipeline.steps["voice"].job
    assert voice is not None and voice.error is not None and voice.error.code == "language-not-supported"


def test_an_output_that_is_a_file_is_led_into(callboard: Callboard) -> None:
    texts = [f"Sentence number {n}." for n in range(80)]
    steps = {
        "embed": {"type": "nlp.embed", "input": {"texts": texts}},
        "note": {
            "type": "system.echo",
            "input": {
                "value": ["${embed.output.dimensions}", "${embed.output.embeddings.79.0}", "${embed.output}"]
            },
        },
    }
    noted = callboard.pipelines.run(steps, wait_s=150)
    assert noted.output is not None
    dimensions, first, whole = noted.output["note"]["value"]
    assert dimensions == 384 and isinstance(first, float) and whole["media_type"] == "application/json"


# --- kills --------------------------------------------------------------------------------------------------


def until(condition: Any, seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except httpx.HTTPError:
            pass  # the gateway is being restarted
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def kill(stack: Stack, name: str) -> None:
    """SIGKILL for every process of a member; the supervisor starts it anew."""
    (member,) = [record for record in records(Folder(stack.home).run) if record.name == name]
    for pid in member.session():
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_gateway_worker_and_courier_killed_in_the_middle_change_nothing(tmp_path: Path) -> None:
    """Each is killed while a step runs that the next one waits for, and nothing is asked for twice."""
    light = {"CALLBOARD_WORKERS": "nlp=0,vision=0", "OPENAI_API_KEY": "", "ELEVENLABS_API_KEY": ""}
    slow = {"type": "system.echo", "input": {"value": "${say.output.message.content}", "sleep_ms": 1500}}
    steps = {
        "first": {"type": "system.echo", "input": {"value": "France", "sleep_ms": 1500}},
        "say": {
            "type": "llm.chat",
            "input": CHAT
            | {"messages": [{"role": "user", "content": "What is the capital of ${first.output.value}?"}]},
        },
        "slow": slow,
        "voice": {**SPOKEN["voice"], "input": SPOKEN["voice"]["input"] | {"text": "${slow.output.value}"}},
    }
    with (
        Stack(tmp_path / "home", env=light, output=tmp_path / "output.txt") as stack,
        httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {stack.key}"}, timeout=5) as http,
    ):
        made = until(lambda: http.post("/v1/pipelines", json={"steps": steps}), 30, "it is accepted").json()

        def state(step: str, status: str) -> bool:
            found = http.get(made["links"]["self"]).json()["steps"][step]["status"]
            return bool(found == status or found == "succeeded")

        for step, victim in (("first", "gateway"), ("say", "llm"), ("slow", "courier"), ("voice", "llm")):
            until(lambda step=step: state(step, "running"), 90, f"{step} runs")
            kill(stack, victim)
        ended = until(
            lambda: (found := http.get(made["links"]["self"]).json())["finished_at"] and found, 150, "it ends"
        )
        assert ended["status"] == "succeeded", ended
        jobs = {name: step["job"] for name, step in ended["steps"].items()}
        assert jobs["voice"]["input"]["text"] == jobs["say"]["output"]["message"]["content"]
        assert "Paris" in jobs["voice"]["input"]["text"]
        file = ended["output"]["voice"]["file"]
        assert hear(http.get(file["url"]).content).speaking() > 0.5
        assert len(http.get("/v1/jobs").json()["data"]) == 4
