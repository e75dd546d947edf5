"""Conversations that are kept, in the real worker: what the provider is asked, and what joins the history."""

from __future__ import annotations

import signal
from typing import Any

import orjson
import pytest
from chats import QUEUE, Chats
from openai_server import KEY, Fault, OpenAIDouble, Reply
from trials import until

from callboard_shared.ids import new_id
from callboard_shared.ledger import NewJob, conversing, filing
from callboard_shared.ledger.records import Saying

OWNER = "key_a"


def begun(chats: Chats, **fields: str) -> str:
    talk = new_id("conv")
    texts = {"title": "", "model": "", "system": "", **fields}
    assert chats.trial.ledger.run(conversing.create(OWNER, talk, most=0, **texts))
    return talk


def say(chats: Chats, talk: str, content: Any, options: dict[str, Any] | None = None, **fields: Any) -> str:
    """Submits the message as the gateway does; gives the job."""
    spec = {"input": {"conversation_id": talk, "message": content, **(options or {})}, "metadata": {}}
    says = Saying(talk, orjson.dumps({"content": content}), "title")
    job = NewJob(new_id("job"), "llm.chat", QUEUE, OWNER, orjson.dumps(spec), says=says, **fields)
    return chats.trial.submit(job)[0]


def answered(chats: Chats, talk: str, content: Any, options: dict[str, Any] | None = None) -> dict[str, Any]:
    record = chats.ended(say(chats, talk, content, options))
    assert record.status == "succeeded", record.error
    output: dict[str, Any] = orjson.loads(record.output or b"")
    return output


def history(chats: Chats, talk: str) -> list[tuple[str, Any, str]]:
    found = chats.trial.ledger.run(conversing.turns(OWNER, talk))
    assert found is not None
    return [(turn.role, turn.content, turn.status) for turn in found[1]]


def heard(double: OpenAIDouble, at: int = -1) -> list[tuple[str, Any]]:
    return [(one["role"], one["content"]) for one in double.asked[at].body["messages"]]


def test_the_model_hears_all_that_was_said(chats: Chats, double: OpenAIDouble) -> None:
    talk = begun(chats, system="Be brief.", model="gpt-4.1")
    double.plan += [Reply("파리."), Reply("Rome.")]
    answered(chats, talk, "Capital of France?")
    output = answered(chats, talk, [{"type": "text", "text": "And of Italy?"}], {"temperature": 0})
    assert heard(double) == [
        ("system", "Be brief."), ("user", "Capital of France?"), ("assistant", "파리."),
        ("user", [{"type": "text", "text": "And of Italy?"}]),
    ]  # fmt: skip
    assert (double.asked[-1].body["model"], double.asked[-1].body["temperature"]) == ("gpt-4.1", 0)
    assert "trimmed" not in output and "warnings" not in output
    assert [content for _, content, _ in history(chats, talk)][1::2] == ["파리.", "Rome."]


def test_a_message_may_have_a_model_and_a_system_message_of_its_own(
    chats: Chats, double: OpenAIDouble
) -> None:
    talk = begun(chats, system="Be brief.", model="gpt-4.1")
    answered(chats, talk, "Hello?", {"model": "o3", "system": "Be long."})
    assert double.asked[0].body["model"] == "o3" and heard(double)[0] == ("system", "Be long.")
    answered(chats, talk, "Hello?")
    assert double.asked[1].body["model"] == "gpt-4.1" and heard(double)[0] == ("system", "Be brief.")


def test_each_attempt_hears_the_same_and_the_reply_joins_once(chats: Chats, double: OpenAIDouble) -> None:
    talk = begun(chats, system="one")
    answered(chats, talk, "First.")
    double.plan += [Reply("It breaks off here", breaks_after=3), Fault(500), Reply("Whole.")]
    job = say(chats, talk, "Second.")
    until(lambda: chats.trial.read(job, QUEUE).error, 10, "the first attempt has failed")
    chats.trial.ledger.run(conversing.change(OWNER, talk, {"system": "two", "model": "other"}))
    assert chats.ended(job).attempt == 3
    assert heard(double, -1) == heard(double, -2) == heard(double, -3)
    assert heard(double)[0] == ("system", "one") and double.asked[-1].body["model"] == "gpt-4o"
    assert history(chats, talk)[2:] == [("user", "Second.", "answered"), ("assistant", "Whole.", "complete")]


def test_a_canceled_answer_is_kept_as_far_as_it_came_and_heard_again(
    chats: Chats, double: OpenAIDouble
) -> None:
    talk = begun(chats)
    double.plan.append(Reply("word " * 200, pause_s=0.1))
    job = say(chats, talk, "Tell me.")
    chats.await_delta(job)
    chats.cancel(job)
    assert chats.ended(job, 5).status == "canceled"
    (_, said, _), (_, partial, status) = history(chats, talk)
    assert (said, status) == ("Tell me.", "partial")
    assert 0 < len(partial) < 500 and chats.said(job).startswith(partial)
    answered(chats, talk, "Go on.")
    assert heard(double) == [("user", "Tell me."), ("assistant", partial), ("user", "Go on.")]


def test_what_was_not_answered_is_not_heard_again(chats: Chats, double: OpenAIDouble) -> None:
    talk = begun(chats)
    double.plan.append(Fault(400, "invalid_value"))
    assert chats.ended(say(chats, talk, "Bad.")).status == "failed"
    answered(chats, talk, "Good.")
    assert heard(double) == [("user", "Good.")]
    assert [status for _, _, status in history(chats, talk)] == ["failed", "answered", "complete"]


def test_a_long_history_is_cut_by_whole_turns_and_says_so(chats: Chats, double: OpenAIDouble) -> None:
    talk = begun(chats, system="Be brief.", model="gpt-4")  # reads 8,192 tokens
    double.usual = lambda body: Reply("sentence " * 300)
    for number in range(8):
        output = answered(chats, talk, f"Question {number}: " + "words " * 500)
    contents = [str(content)[:11] for role, content in heard(double) if role == "user"]
    assert (
        contents == [f"Question {number}:" for number in range(8 - len(contents), 8)]
        and 1 < len(contents) < 8
    )
    roles = [role for role, _ in heard(double)]
    assert roles == ["system", *["user", "assistant"] * (len(contents) - 1), "user"]
    left_out = 2 * (8 - len(contents))
    assert output["trimmed"] == {"messages": left_out, "window": 8_192, "counted": "estimated"}
    assert str(left_out) in output["warnings"][0] and "estimate" in output["warnings"][0]
    assert len(history(chats, talk)) == 16, "nothing is lost of what is kept"


def test_a_picture_that_was_deleted_is_told_of_in_its_place(chats: Chats, double: OpenAIDouble) -> None:
    record = chats.trial.files.put_bytes(OWNER, "a.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(16))
    chats.trial.ledger.run(filing.put_file(record))
    talk = begun(chats)
    picture = {"type": "image_url", "image_url": {"file_id": record.id}}
    answered(chats, talk, [{"type": "text", "text": "What is it?"}, picture])
    answered(chats, talk, "And its colour?")
    assert heard(double)[0][1][1]["image_url"]["url"].startswith("data:image/png")
    chats.trial.ledger.run(filing.delete_file(record.id, OWNER))
    output = answered(chats, talk, "And its size?")
    assert heard(double)[0][1][1] == {"type": "text", "text": "(a picture that has been deleted)"}
    assert "deleted" in output["warnings"][0]


def test_a_conversation_that_is_deleted_meanwhile_stops_its_job(chats: Chats, double: OpenAIDouble) -> None:
    talk = begun(chats)
    double.plan.append(Reply("word " * 200, pause_s=0.1))
    job = say(chats, talk, "Tell me.")
    chats.await_delta(job)
    assert chats.trial.ledger.run(conversing.remove(OWNER, talk))
    assert chats.ended(job, 5).status == "canceled"
    assert chats.trial.ledger.run(conversing.find(OWNER, talk)) is None


@pytest.mark.slow
def test_a_killed_worker_costs_no_message_and_no_second_reply(chats: Chats, double: OpenAIDouble) -> None:
    talk = begun(chats)
    answered(chats, talk, "First.")
    own = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": double.url}
    double.plan.append(Reply("word " * 400, pause_s=0.1))
    job = say(chats, talk, "Second.")
    chats.await_delta(job)
    chats.worker.signal_tree(signal.SIGKILL)
    chats.worker.process.wait(10)
    chats.worker = chats.trial.start("callboard_llm", own)
    record = chats.ended(job, 60)
    assert (record.status, record.attempt) == ("succeeded", 2)
    assert heard(double) == heard(double, -2)
    assert [(role, status) for role, _, status in history(chats, talk)] == [
        ("user", "answered"), ("assistant", "complete"), ("user", "answered"), ("assistant", "complete"),
    ]  # fmt: skip
