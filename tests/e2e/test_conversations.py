"""Conversations on the embedded default: over HTTP, by the client, and at a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from over_http import ended

from callboard_client import AsyncCallboard, Callboard, Conflict, NotFound
from callboard_embedded.stack import Stack

pytestmark = pytest.mark.models

MODEL = "SmolLM2-135M-Instruct"


@pytest.fixture
def callboard(stack: Stack) -> Iterator[Callboard]:
    with Callboard(stack.url, stack.key) as client:
        yield client


def test_the_local_model_hears_what_was_said_before(http: httpx.Client) -> None:
    talk = http.post("/v1/conversations", json={"system": "You answer in one short sentence."}).json()["id"]
    path = f"/v1/conversations/{talk}/messages"
    first = http.post(
        path, json={"content": "My name is Ada. Say hello to me.", "temperature": 0, "max_tokens": 40}
    )
    job = ended(http, first.json()["id"])
    second = http.post(
        path,
        json={"content": "What is my name?", "temperature": 0, "max_tokens": 40},
        headers={"Prefer": "wait=60"},
    )
    assert second.status_code == 200 and second.json()["status"] == "succeeded", second.text
    before, after = job["output"]["usage"], second.json()["output"]["usage"]
    assert after["prompt_tokens"] > before["prompt_tokens"] + before["completion_tokens"]
    found = http.get(path).json()["data"]
    assert [one["role"] for one in found] == ["user", "assistant"] * 2
    assert (found[1]["content"], found[1]["job_id"]) == (job["output"]["message"]["content"], job["id"])
    assert (found[1]["provider"], found[1]["model"]) == ("local", MODEL)


@pytest.mark.slow
def test_a_history_longer_than_the_local_models_window_is_cut_and_says_so(callboard: Callboard) -> None:
    talk = callboard.conversations.create()
    for number in range(4):
        text = f"Number {number}. " + "The quick brown fox jumps over the lazy dog. " * 50
        output = callboard.conversations.ask(talk, text, max_tokens=8, temperature=0)
    assert output["trimmed"]["window"] == 2048 and output["trimmed"]["counted"] == "exactly"
    assert 0 < output["trimmed"]["messages"] < 6 and output["trimmed"]["messages"] % 2 == 0
    assert "oldest messages" in output["warnings"][0]
    assert output["usage"]["prompt_tokens"] + 8 <= 2048
    *_, last = callboard.conversations.messages(talk)
    assert last.warnings == output["warnings"]


def test_the_client_does_all_that_there_is(callboard: Callboard) -> None:
    talk = callboard.conversations.create(title="Capitals of Europe", system="Be brief.", model=MODEL)
    assert (talk.title, talk.system, talk.model) == ("Capitals of Europe", "Be brief.", MODEL)
    job = callboard.conversations.send(talk, "Tell a very long story about a king.", max_tokens=1000)
    with pytest.raises(Conflict) as busy:
        callboard.conversations.send(talk, "And?")
    assert (busy.value.code, busy.value.problem.job_id) == ("conversation-busy", job.id)
    said = ""
    for event in callboard.jobs.events(job):
        if event.kind == "delta":
            said += event.data["text"]
            if len(said) > 40:
                callboard.jobs.cancel(job)
                break
    assert callboard.jobs.wait(job, 20).status == "canceled"
    question, partial = callboard.conversations.get(talk).messages
    assert (question.status, partial.status) == ("answered", "partial")
    assert partial.content and said.startswith(partial.content[:40])
    assert [one.id for one in callboard.conversations.list("europe capit", limit=1)] == [talk.id]
    assert callboard.conversations.update(talk, title="Kings", system=None).system is None
    assert callboard.conversations.export(talk, include_system=True).startswith("# Kings\n")
    assert json.loads(callboard.conversations.export(talk, "json"))["id"] == talk.id
    callboard.conversations.delete(talk)
    with pytest.raises(NotFound):
        callboard.conversations.get(talk)


async def test_the_async_client_does_the_same(stack: Stack) -> None:
    async with AsyncCallboard(stack.url, stack.key) as callboard:
        talk = await callboard.conversations.create()
        output = await callboard.conversations.ask(talk, "Say yes.", max_tokens=8, temperature=0)
        found = [message async for message in callboard.conversations.messages(talk)]
        assert [message.content for message in found] == ["Say yes.", output["message"]["content"]]
        assert (await callboard.conversations.get(talk)).title == "Say yes."
        assert [one.id async for one in callboard.conversations.list("say yes")]
        await callboard.conversations.delete(talk)


class Terminal:
    """``callboard chat`` at a terminal of its own, as a person has it."""

    def __init__(self, stack: Stack, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        environment = {
            **os.environ, "CALLBOARD_URL": stack.url, "CALLBOARD_API_KEY": stack.key, "TERM": "xterm",
            "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "callboard_client", "chat", *arguments],
            stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # the terminal is now the session's own
        )  # fmt: skip
        os.close(slave)
        self.text = ""
        self._read_to = 0

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, pattern: str, within_s: float = 90) -> str:
        """What was shown up to and with ``pattern``, since the last call."""
        deadline = time.monotonic() + within_s
        while not (found := re.search(pattern, self.text[self._read_to :])):
            ready, _, _ = select.select([self._master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no {pattern!r} in {self.text[self._read_to :]!r}"
            try:
                self.text += os.read(self._master, 65_536).decode("utf-8", "replace").replace("\r\n", "\n")
            except OSError:  # the other side is closed
                raise AssertionError(f"it ended without {pattern!r}: {self.text!r}") from None
        shown = self.text[self._read_to : self._read_to + found.end()]
        self._read_to += found.end()
        return shown

    def give_line_up(self, pattern: str) -> None:
        """Ctrl-C until ``pattern`` shows. A person presses it again too: CPython's ``input`` hears of a signal that came
        while readline took a key in only with the next key."""
        for _ in range(20):
            self.type("\x03")
            ready, _, _ = select.select([self._master], [], [], 3)
            if ready:
                break
        self.until(pattern)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self._master)


@contextmanager
def terminal(stack: Stack, *arguments: str) -> Iterator[Terminal]:
    made = Terminal(stack, *arguments)
    try:
        yield made
    finally:
        made.close()


def test_a_person_talks_at_a_terminal(stack: Stack, callboard: Callboard) -> None:
    with terminal(stack, "--system", "Be brief.", "--temperature", "0", "--max-tokens", "20") as person:
        person.until("you> ")
        person.type("What is the capital of France?\n")
        assert "Paris" in person.until("you> ")
        person.type("안녕하세요, 기차는?\n")
        person.until("you> ")
        person.type("exit\n")
        shown = person.until(r"--conversation (conv_\w{26})")
        assert person.process.wait(15) == 0
    talk = callboard.conversations.get(shown[-31:], include_system=True)
    contents = [message.content for message in talk.messages if message.role == "user"]
    assert contents == ["What is the capital of France?", "안녕하세요, 기차는?"]
    assert (talk.system, talk.running_job_id) == ("Be brief.", None)


def test_ctrl_c_stops_the_answer_and_not_the_program(stack: Stack, callboard: Callboard) -> None:
    talk = callboard.conversations.create(title="Kings")
    with terminal(stack, "--conversation", talk.id, "--max-tokens", "1500") as person:
        person.until(r"Kings \(0 messages\)")
        person.until("you> ")
        person.type("half a line")
        person.until("half a line")
        person.give_line_up("you> ")
        person.type("Tell a very long story about a king.\n")
        person.until(r"\w+ \w+ \w+ \w+ \w+ \w+ \w+ \w+ \w+ \w+ \w+ \w+")
        person.type("\x03")
        person.until(r"\(stopped\)", 15)
        person.until("you> ")
        person.type("\x04")  # the end of the input
        assert person.process.wait(15) == 0
    question, partial = callboard.conversations.get(talk).messages
    assert question.content == "Tell a very long story about a king." and partial.status == "partial"
    job = callboard.jobs.get(str(question.job_id))
    assert job.status == "canceled"


def piped(stack: Stack, said: bytes, *arguments: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "CALLBOARD_URL": stack.url, "CALLBOARD_API_KEY": stack.key, **env}
    return subprocess.run(
        [sys.executable, "-m", "callboard_client", "chat", *arguments],
        input=said, capture_output=True, env=environment, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("locale", ["C.UTF-8", "POSIX", "C"])
def test_what_is_piped_in_is_answered_line_by_line(stack: Stack, callboard: Callboard, locale: str) -> None:
    said = "안녕하세요?\n\n  Say yes.  \nexit\nnever said\n".encode()
    env: dict[str, Any] = {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = piped(stack, said, "--max-tokens", "12", **env)
    assert done.returncode == 0, done.stderr
    found = re.search(rb"conv_\w{26}", done.stderr)
    assert found is not None
    messages = callboard.conversations.get(found[0].decode()).messages
    assert [one.content for one in messages if one.role == "user"] == ["안녕하세요?", "Say yes."]
    answers = "".join(f"{one.content}\n" for one in messages if one.role == "assistant" and one.content)
    assert done.stdout.decode() == answers


def test_what_goes_wrong_is_told_and_is_in_the_exit_code(stack: Stack) -> None:
    done = piped(stack, b"Hello?\n", "--model", "no-such-model")
    assert done.returncode == 1 and b"no-such-model" in done.stderr and b"Traceback" not in done.stderr
    done = piped(stack, b"Hello?\n", "--conversation", "conv_01kaq3v5ef7v8m2c4r6t8w0y2z")
    assert done.returncode == 1 and b"There is no such conversation" in done.stderr


def test_nothing_said_leaves_no_conversation(stack: Stack, callboard: Callboard) -> None:
    before = [one.id for one in callboard.conversations.list()]
    assert piped(stack, b"\n\nexit\n").returncode == 0
    assert [one.id for one in callboard.conversations.list()] == before
