"""Conversations in the client: what is sent, and what its answers read as."""

from __future__ import annotations

from typing import Any

import pytest

from callboard_client import Callboard, Conflict, JobFailed

PATH = "/v1/conversations/conv_1"


def test_asking_waits_for_the_job_under_one_key(callboard: Callboard, gateway: Any, make: Any) -> None:
    output = {"message": {"content": "Paris."}}
    gateway.on("POST", f"{PATH}/messages", None, make.answer(202, make.job()))
    gateway.on("GET", "/v1/jobs/job_1", make.answer(200, make.job("succeeded", output=output)))
    assert callboard.conversations.ask("conv_1", "Capital?", model="m", temperature=0, seed=1) == output
    first, again, _ = gateway.seen
    assert first.json == again.json == {"content": "Capital?", "model": "m", "temperature": 0, "seed": 1}
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"]
    assert first.headers["prefer"] == "wait=30"


def test_an_answer_that_fails_is_raised(callboard: Callboard, gateway: Any, make: Any) -> None:
    failed = make.job("failed", error=make.problem(500, "provider-refused"))
    gateway.on("POST", f"{PATH}/messages", make.answer(200, failed))
    with pytest.raises(JobFailed, match="provider-refused"):
        callboard.conversations.ask("conv_1", "?")


def test_a_busy_conversation_says_which_job_answers(callboard: Callboard, gateway: Any, make: Any) -> None:
    gateway.on(
        "POST", f"{PATH}/messages", make.answer(409, make.problem(409, "conversation-busy", job_id="job_2"))
    )
    with pytest.raises(Conflict) as busy:
        callboard.conversations.send("conv_1", "?", idempotency_key="k")
    assert busy.value.problem.job_id == "job_2" and "prefer" not in gateway.seen[0].headers


def test_lists_go_on_page_by_page(callboard: Callboard, gateway: Any, make: Any) -> None:
    pages = [
        {"data": [{"id": "conv_2"}], "next_cursor": "c"},
        {"data": [{"id": "conv_1"}], "next_cursor": None},
    ]
    gateway.on("GET", "/v1/conversations", *(make.answer(200, page) for page in pages))
    assert [one.id for one in callboard.conversations.list("trains")] == ["conv_2", "conv_1"]
    assert [seen.query for seen in gateway.seen] == [
        {"q": "trains", "limit": "100"}, {"q": "trains", "limit": "100", "cursor": "c"},
    ]  # fmt: skip


def test_a_conversation_is_read_changed_and_exported(callboard: Callboard, gateway: Any, make: Any) -> None:
    whole = {
        "id": "conv_1",
        "system": "s",
        "messages": [{"role": "user", "content": "x", "status": "pending"}],
    }
    gateway.on("GET", PATH, make.answer(200, whole))
    gateway.on("PATCH", PATH, make.answer(200, {"id": "conv_1"}))
    gateway.on(
        "GET",
        f"{PATH}/export",
        make.answer(200, "# 기차\n".encode(), {"content-type": "text/markdown; charset=utf-8"}),
    )
    gateway.on("DELETE", PATH, make.answer(204))
    found = callboard.conversations.get("conv_1", include_system=True)
    assert (found.system, found.messages[0].status) == ("s", "pending")
    callboard.conversations.update(found, title=None, system="t")
    assert callboard.conversations.export(found) == "# 기차\n"
    callboard.conversations.delete(found)
    assert gateway.seen[0].query == {"include_system": "true"}
    assert gateway.seen[1].json == {"title": None, "system": "t"}
