"""``callboard chat`` against a gateway of a few lines; at a terminal, and with a model, it is tried in tests/e2e."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from callboard_client.cli import main

Chat = Callable[..., int]
TALK = {"id": "conv_1", "title": "Trains", "message_count": 4}


def frame(number: int, kind: str, **data: Any) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


@pytest.fixture
def chat(gateway: Any, make: Any, no_environment: None, monkeypatch: pytest.MonkeyPatch) -> Chat:
    """Runs the command with these lines piped in; gives its exit code."""
    gateway.on("POST", "/v1/conversations", make.answer(201, {"id": "conv_1"}))
    gateway.on("POST", "/v1/conversations/conv_1/messages", make.answer(202, make.job()))

    def run(said: str, *arguments: str) -> int:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(said.encode()), "ascii"))
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(SystemExit) as ended:
            main(["--url", gateway.url, "--key", make.key, "chat", *arguments])
        assert signal.getsignal(signal.SIGINT) is before
        return ended.value.code if isinstance(ended.value.code, int) else 0

    return run


def says(gateway: Any, make: Any, *frames: bytes, status: str = "succeeded", **job: Any) -> None:
    done = frame(99, "done", **make.job(status, **job))
    gateway.on("GET", "/v1/jobs/job_1/events", make.answer(200, b"".join([*frames, done])))


def sent(gateway: Any, path: str = "/v1/conversations/conv_1/messages") -> list[Any]:
    return [seen.json for seen in gateway.seen if (seen.method, seen.path) == ("POST", path)]


def test_each_line_is_a_message_of_one_conversation(gateway: Any, make: Any, chat: Chat, capsys: Any) -> None:
    says(gateway, make, frame(1, "delta", text="안녕"), frame(2, "delta", text="하세요"))
    assert chat("안녕?\n\nAnd?\n", "--system", "Be brief.", "--model", "m", "--provider", "local") == 0
    assert sent(gateway, "/v1/conversations") == [{"system": "Be brief.", "model": "m"}]
    assert sent(gateway) == [{"content": text, "provider": "local"} for text in ("안녕?", "And?")]
    shown = capsys.readouterr()
    assert shown.out == "안녕하세요\n안녕하세요\n"
    assert "callboard chat --conversation conv_1" in shown.err


def test_what_a_terminal_would_obey_is_not_shown_to_it(
    gateway: Any, make: Any, chat: Chat, capsys: Any
) -> None:
    says(gateway, make, frame(1, "delta", text="a\x1b[2Jb\x07c\x9b1md\n\te\x7f"))
    chat("x\n")
    assert capsys.readouterr().out == "a[2Jbc1md\n\te\n"


def test_an_answer_that_begins_anew_says_so(gateway: Any, make: Any, chat: Chat, capsys: Any) -> None:
    running = {"status": "running"}
    says(
        gateway, make, frame(1, "status", **running), frame(2, "delta", text="Half an"),
        frame(3, "status", status="scheduled"), frame(4, "status", **running), frame(5, "delta", text="Whole."),
    )  # fmt: skip
    chat("x\n")
    shown = capsys.readouterr()
    assert shown.out == "Half an\nWhole.\n" and "begins anew" in shown.err


def test_what_was_left_out_of_a_long_history_is_told(
    gateway: Any, make: Any, chat: Chat, capsys: Any
) -> None:
    says(gateway, make, output={"warnings": ["The model was not shown the 4 oldest messages."]})
    assert chat("x\n") == 0
    assert "4 oldest messages" in capsys.readouterr().err


@pytest.mark.parametrize("status", ["failed", "expired"])
def test_a_job_that_fails_is_told_and_the_conversation_goes_on(
    gateway: Any, make: Any, chat: Chat, capsys: Any, status: str
) -> None:
    says(gateway, make, status=status, error=make.problem(500, "provider-refused", "It will not."))
    assert chat("one\ntwo\n") == 1
    assert len(sent(gateway)) == 2 and "It will not." in capsys.readouterr().err


def test_a_conversation_that_is_busy_is_told(gateway: Any, make: Any, chat: Chat, capsys: Any) -> None:
    busy = make.problem(
        409, "conversation-busy", "In this conversation job job_2 is answering.", job_id="job_2"
    )
    gateway.on(
        "POST", "/v1/conversations/conv_1/messages", make.answer(409, busy), make.answer(202, make.job())
    )
    says(gateway, make, frame(1, "delta", text="yes"))
    assert chat("one\ntwo\n") == 1
    shown = capsys.readouterr()
    assert "job_2 is answering" in shown.err and shown.out == "yes\n"


def test_one_goes_on_with_a_conversation_and_may_change_it(
    gateway: Any, make: Any, chat: Chat, capsys: Any
) -> None:
    gateway.on("GET", "/v1/conversations/conv_1", make.answer(200, TALK))
    gateway.on("PATCH", "/v1/conversations/conv_1", make.answer(200, TALK))
    says(gateway, make)
    assert chat("x\nexit\nnever\n", "--conversation", "conv_1", "--system", "Be long.") == 0
    assert [seen.json for seen in gateway.seen if seen.method == "PATCH"] == [{"system": "Be long."}]
    assert [one["content"] for one in sent(gateway)] == ["x"] and sent(gateway, "/v1/conversations") == []
    assert "Trains (4 messages)" in capsys.readouterr().err


@pytest.mark.parametrize("said", ["", "\n \n", "exit\n", " EXIT \nx\n"])
def test_who_says_nothing_begins_nothing(gateway: Any, chat: Chat, said: str) -> None:
    assert chat(said) == 0
    assert gateway.seen == []


def test_ctrl_c_cancels_the_job_and_shows_how_it_ends(
    gateway: Any, make: Any, chat: Chat, capsys: Any
) -> None:
    canceled = []

    def cancel(seen: Any) -> Any:
        canceled.append(seen)
        asked.set()
        return make.answer(202, make.job("canceling"))

    asked = threading.Event()

    def interrupting(seen: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)  # this is the gateway's thread; the main one gets it
        assert asked.wait(10)
        asked.clear()
        return make.answer(
            200, frame(1, "delta", text="In the beg") + frame(2, "done", **make.job("canceled"))
        )

    gateway.on("POST", "/v1/jobs/job_1/cancel", cancel)
    gateway.on("GET", "/v1/jobs/job_1/events", interrupting)
    assert chat("x\ny\n") == 0
    assert len(canceled) == 2, "each answer was stopped once"
    shown = capsys.readouterr()
    assert shown.out == "In the beg\n" * 2 and shown.err.count("(stopped)") == 2
