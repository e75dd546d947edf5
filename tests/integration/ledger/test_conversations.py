"""Conversations: a message joins with its job, the reply with its job's end, each once, and one job answers at a time."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import orjson
import pytest
from builders import LEASE_MS, OWNER, RUNNER
from clocked import START_MS, ClockedLedger

from callboard_shared.errors import Conflict, Invalid, LedgerFull
from callboard_shared.ids import new_id
from callboard_shared.ledger import AsyncLedger, Ended, Ledger, NewJob, Submitted, conversing, verbs
from callboard_shared.ledger.conversing import Conversation, Turn
from callboard_shared.ledger.keys import of
from callboard_shared.ledger.records import Saying
from callboard_shared.states import JobStatus

QUEUE = "llm"
LIMITS = {"llm.chat": (1, 0)}


def begun(ledger: Ledger, owner: str = OWNER, **fields: Any) -> str:
    conversation_id = new_id("conv")
    texts = {"title": "", "model": "", "system": "", **fields}
    assert ledger.run(conversing.create(owner, conversation_id, most=0, **texts))
    return conversation_id


def message(
    conversation_id: str, content: str, owner: str = OWNER, replaces: str = "", **fields: Any
) -> NewJob:
    says = Saying(conversation_id, orjson.dumps({"content": content}), content[:20], replaces)
    return NewJob(new_id("job"), "llm.chat", QUEUE, owner, b'{"input":{}}', says=says, **fields)


def say(ledger: Ledger, job: NewJob, **limits: int) -> Any:
    return ledger.run(verbs.submit(QUEUE, [job], **limits)).results[0]


def said(ledger: Ledger, conversation_id: str, content: str, **fields: Any) -> NewJob:
    job = message(conversation_id, content, **fields)
    assert isinstance(say(ledger, job), Submitted)
    return job


def claim(ledger: Ledger, runner: str = RUNNER) -> list[str]:
    call = verbs.claim(QUEUE, runner, limits=LIMITS, max_jobs=10, lease_ms=LEASE_MS)
    return [job.id for job in ledger.run(call).jobs]


def finish(ledger: Ledger, job: NewJob, outcome: Any, reply: str = "", attempt: int = 1, **more: Any) -> str:
    body = orjson.dumps({"content": reply}) if reply else b""
    ended = Ended(job.id, attempt, outcome, output=b'{"x":1}', error=b'{"code":"x"}', reply=body, **more)
    return ledger.run(verbs.finish(QUEUE, RUNNER, [ended])).results[0]


def answered(ledger: Ledger, conversation_id: str, content: str, reply: str) -> NewJob:
    job = said(ledger, conversation_id, content)
    assert claim(ledger) == [job.id]
    assert finish(ledger, job, "succeeded", reply) == "committed"
    return job


def found(ledger: Ledger, conversation_id: str, owner: str = OWNER) -> Conversation:
    one = ledger.run(conversing.find(owner, conversation_id))
    assert one is not None
    return one


def turns(ledger: Ledger, conversation_id: str) -> list[Turn]:
    answer = ledger.run(conversing.turns(OWNER, conversation_id))
    assert answer is not None
    return answer[1]


def history(ledger: Ledger, conversation_id: str) -> list[tuple[str, str, str]]:
    return [(turn.role, turn.content, turn.status) for turn in turns(ledger, conversation_id)]


def test_message_and_reply_join_the_history_in_order(ledger: ClockedLedger) -> None:
    talk = begun(ledger, system="Be brief.", model="m")
    first = answered(ledger, talk, "안녕 하세요", "Hello!")
    ledger.pass_time(1000)
    answered(ledger, talk, "Two\nlines", "Yes.")
    assert history(ledger, talk) == [
        ("user", "안녕 하세요", "answered"), ("assistant", "Hello!", "complete"),
        ("user", "Two\nlines", "answered"), ("assistant", "Yes.", "complete"),
    ]  # fmt: skip
    assert [turn.job_id for turn in turns(ledger, talk)][:2] == [first.id, first.id]
    assert [turn.created_ms for turn in turns(ledger, talk)][1:3] == [START_MS, START_MS + 1000]
    one = found(ledger, talk)
    assert (one.title, one.system, one.model, one.turns, one.running) == (
        "안녕 하세요",
        "Be brief.",
        "m",
        4,
        None,
    )
    assert (one.created_ms, one.updated_ms) == (START_MS, START_MS + 1000)


def test_a_message_is_pending_until_its_job_ends(ledger: ClockedLedger) -> None:
    talk = begun(ledger)
    job = said(ledger, talk, "Hello?")
    assert history(ledger, talk) == [("user", "Hello?", "pending")]
    assert found(ledger, talk).running == job.id


def test_a_second_message_is_refused_with_the_job_that_answers(ledger: ClockedLedger) -> None:
    talk = begun(ledger)
    job = said(ledger, talk, "one")
    for _ in range(2):  # waiting, then running
        refused = say(ledger, message(talk, "two"))
        assert isinstance(refused, Conflict)
        assert refused.problem_code == "conversation-busy"
        assert refused.problem()["job_id"] == job.id
        claim(ledger)
    assert [content for _, content, _ in history(ledger, talk)] == ["one"]
    finish(ledger, job, "succeeded", "1")
    assert isinstance(say(ledger, message(talk, "two")), Submitted)


def test_of_two_messages_in_one_batch_the_second_is_refused(ledger: ClockedLedger) -> None:
    talk = begun(ledger)
    jobs = [message(talk, "one"), message(talk, "two")]
    results = ledger.run(verbs.submit(QUEUE, jobs)).results
    assert [type(result) for result in results] == [Submitted, Conflict]


def test_of_messages_sent_at_the_same_time_one_joins(real_ledger: Ledger) -> None:
    talk = begun(real_ledger)
    results: list[Any] = []
    gate = threading.Barrier(8)

    def send(number: int) -> None:
        job = message(talk, f"message {number}")
        gate.wait()
        results.append(say(real_ledger, job))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(result).__name__ for result in results) == ["Conflict"] * 7 + ["Submitted"]
    assert len(history(real_ledger, talk)) == 1


def test_a_submission_that_is_repeated_joins_once(ledger: ClockedLedger) -> None:
    talk = begun(ledger)
    job = message(talk, "once")
    assert [say(ledger, job).existed for _ in range(3)] == [False, True, True]
    assert len(history(ledger, talk)) == 1


def test_a_reply_joins_once_though_its_commit_is_sent_twice(ledger: ClockedLedger) -> None:
    talk = begun(ledger)
    job = answered(ledger, talk, "Hello?", "Hello!")
    assert (
        finish(ledger, job, "succeeded", "Hello!") == "committed"
    )  # the answer to the first was lost on the way
    assert [role for role, _, _ in history(ledger, talk)] == ["user", "assistant"]
    said(ledger, talk, "And?")
    assert finish(ledger, job, "succeeded", "Hello!") == "committed"
    assert [status for _, _, status in history(ledger, talk)] == ["answered", "complete", "pending"]


def test_the_reply_of_a_worker_that_was_taken_for_dead_is_refused(ledger: ClockedLedger) -> None:
    talk = begun(ledger)
    job = said(ledger, talk, "Hello?")
    claim(ledger)
    ledger.run(verbs.lost(QUEUE, RUNNER))
    assert found(ledger, talk).running == job.id  # it will be answered by another attempt
    assert claim(ledger) == [job.id]
    assert finish(ledger, job, "succeeded", "late", attempt=1) == "stale"
    assert finish(ledger, job, "succeeded", "in time", attempt=2) == "committed"
    assert [content for _, content, _ in history(ledger, talk)] == ["Hello?", "in time"]


def test_every_attempt_has_the_same_past(ledger: ClockedLedger) -> None:
    talk = begun(ledger, system="Be brief.", model="m")
    answered(ledger, talk, "one", "1")
    job = said(ledger, talk, "two")
    pasts = []
    for change in ({"system": "Be long."}, {"system": "", "model": "n"}, {}):
        claim(ledger)
        pasts.append(ledger.run(conversing.past(talk, job.id)))
        ledger.run(conversing.change(OWNER, talk, change))
        ledger.run(verbs.lost(QUEUE, RUNNER))
    assert pasts[0] is not None and pasts[0] == pasts[1] == pasts[2]
    assert (pasts[0].system, pasts[0].model) == ("Be brief.", "m")
    assert [turn.content for turn in pasts[0].turns] == ["one", "1"]


def test_a_job_that_does_not_answer_there_has_no_past(ledger: ClockedLedger) -> None:
    talk = begun(ledger)
    job = answered(ledger, talk, "one", "1")
    assert ledger.run(conversing.past(talk, job.id)) is None
    assert ledger.run(conversing.past(new_id("conv"), job.id)) is None


@pytest.mark.parametrize("outcome", ["failed", "retry"])
def test_a_failed_job_frees_the_conversation_and_marks_the_message(
    ledger: ClockedLedger, outcome: str
) -> None:
    talk = begun(ledger)
    said(ledger, talk, "Hello?", max_attempts=1)
    (job_id,) = claim(ledger)
    ended = Ended(job_id, 1, outcome, error=b"{}", reply=b'{"content":"half an ans"}')  # type: ignore[arg-type]
    ledger.run(verbs.finish(QUEUE, RUNNER, [ended]))
    assert history(ledger, talk) == [("user", "Hello?", "failed")]
    assert found(ledger, talk).running is None


def test_an_attempt_that_is_followed_by_another_leaves_the_message_pending(ledger: ClockedLedger) -> None:
    talk = begun(ledger)
    job = said(ledger, talk, "Hello?")
    claim(ledger)
    finish(ledger, job, "retry", delay_ms=1000)
    assert history(ledger, talk) == [("user", "Hello?", "pending")]
    assert isinstance(say(ledger, message(talk, "well?")), Conflict)


def test_a_canceled_reply_is_kept_as_far_as_it_came(ledger: ClockedLedger) -> None:
    talk = begun(ledger)
    job = said(ledger, talk, "Tell me all.")
    claim(ledger)
    ledger.run(verbs.cancel(job.id, QUEUE))
    assert isinstance(say(ledger, message(talk, "well?")), Conflict)  # not until it has stopped
    finish(ledger, job, "canceled", "In the beginn")
    assert history(ledger, talk) == [
        ("user", "Tell me all.", "answered"), ("assistant", "In the beginn", "partial"),
    ]  # fmt: skip


def test_a_job_that_is_canceled_before_it_said_anything_marks_the_message(ledger: ClockedLedger) -> None:
    talk = begun(ledger)
    job = said(ledger, talk, "Hello?")
    assert ledger.run(verbs.cancel(job.id, QUEUE)) == "ended"
    assert history(ledger, talk) == [("user", "Hello?", "canceled")]
    assert found(ledger, talk).running is None


def test_a_job_that_expires_or_kills_its_workers_frees_the_conversation(ledger: ClockedLedger) -> None:
    late, deadly = begun(ledger), begun(ledger)
    said(ledger, deadly, "boom", max_attempts=1)
    claim(ledger)
    said(ledger, late, "too late", expires_in_ms=1000)
    ledger.pass_time(LEASE_MS + 1)
    ledger.run(verbs.sweep(QUEUE))
    for talk in (late, deadly):
        assert [status for _, _, status in history(ledger, talk)] == ["failed"]
        assert found(ledger, talk).running is None


def test_a_failed_message_that_is_said_anew_takes_its_own_place(ledger: ClockedLedger) -> None:
    talk = begun(ledger)
    first = said(ledger, talk, "Hello?")
    ledger.run(verbs.cancel(first.id, QUEUE))
    again = said(ledger, talk, "Hello?", replaces=first.id)
    assert [(turn.content, turn.status, turn.job_id) for turn in turns(ledger, talk)] == [
        ("Hello?", "pending", again.id)
    ]
    claim(ledger)
    finish(ledger, again, "succeeded", "Hello!")
    said(ledger, talk, "Hello?", replaces=first.id)
    assert [status for _, _, status in history(ledger, talk)] == ["answered", "complete", "pending"]


def test_what_is_another_owners_is_not_there(ledger: ClockedLedger) -> None:
    talk = begun(ledger)
    refused = say(ledger, message(talk, "mine?", owner="key_bob"))
    assert isinstance(refused, Invalid) and refused.problem_code == "unknown-conversation"
    assert ledger.run(conversing.find("key_bob", talk)) is None
    assert ledger.run(conversing.turns("key_bob", talk)) is None
    assert ledger.run(conversing.change("key_bob", talk, {"title": "mine"})) is None
    assert ledger.run(conversing.remove("key_bob", talk)) is False
    assert found(ledger, talk).title == ""


def test_a_conversation_that_is_removed_cancels_the_job_that_answers(ledger: ClockedLedger) -> None:
    waiting, running = begun(ledger), begun(ledger)
    waits = said(ledger, waiting, "one")
    ledger.run(verbs.pause("nlp"))
    assert ledger.run(conversing.remove(OWNER, waiting)) is True
    runs = said(ledger, running, "two")
    assert claim(ledger) == [runs.id]
    assert ledger.run(conversing.remove(OWNER, running)) is True
    first, second = ledger.run(verbs.read(QUEUE, [waits.id, runs.id]))
    assert first is not None and first.status is JobStatus.CANCELED
    assert second is not None and second.status is JobStatus.CANCELING
    assert finish(ledger, runs, "succeeded", "too late") == "committed"
    assert (
        ledger.redis.keys(of(QUEUE, "turns") + "*")
        == ledger.redis.keys(of(QUEUE, "conversation") + "*")
        == []
    )
    assert ledger.run(conversing.remove(OWNER, running)) is False


def test_a_conversation_has_its_bounds(ledger: ClockedLedger) -> None:
    talk = begun(ledger)
    answered(ledger, talk, "one", "1")
    for limits in ({"max_turns": 3}, {"max_bytes": 40}):
        refused = say(ledger, message(talk, "two"), **limits)
        assert isinstance(refused, Conflict) and refused.problem_code == "conversation-full"
    assert isinstance(say(ledger, message(talk, "two"), max_turns=4), Submitted)
    assert not ledger.run(conversing.create(OWNER, new_id("conv"), title="", model="", system="", most=1))


async def test_a_conversation_that_may_idle_for_a_while_goes_after_it(
    real_ledger: Ledger, aledger: AsyncLedger
) -> None:
    stays, goes, next_one = begun(real_ledger), new_id("conv"), new_id("conv")
    empty = {"title": "", "model": "", "system": ""}
    assert real_ledger.run(conversing.create(OWNER, goes, most=2, keep_ms=300, **empty))
    answered(real_ledger, goes, "one", "1")
    said(real_ledger, goes, "two")
    (job_id,) = claim(real_ledger)
    async with asyncio.timeout(10):
        while real_ledger.run(conversing.find(OWNER, goes)):
            await asyncio.sleep(0.02)
    ended = Ended(job_id, 1, "succeeded", output=b"1", reply=b'{"content":"2"}')
    assert real_ledger.run(verbs.finish(QUEUE, RUNNER, [ended])).results == ["committed"]
    assert real_ledger.run(conversing.turns(OWNER, goes)) is None, "its job does not bring it back"
    assert real_ledger.run(conversing.create(OWNER, next_one, most=2, **empty)), "what is gone does not count"
    found, _ = await conversing.list_conversations(aledger, OWNER, limit=10)
    assert [one.id for one in found] == [next_one, stays]


def test_a_full_ledger_begins_no_conversation(ledger: ClockedLedger) -> None:
    ledger.run(verbs.sweep(QUEUE, full=True))
    with pytest.raises(LedgerFull):
        begun(ledger)


def test_bytes_are_those_of_the_turns(ledger: ClockedLedger) -> None:
    talk = begun(ledger)
    failed = said(ledger, talk, "a long message that fails")
    ledger.run(verbs.cancel(failed.id, QUEUE))
    said(ledger, talk, "short", replaces=failed.id)
    (job_id,) = claim(ledger)
    ledger.run(verbs.finish(QUEUE, RUNNER, [Ended(job_id, 1, "succeeded", reply=b'{"content":"yes"}')]))
    counted = int(ledger.redis.hget(of(QUEUE, "conversation", talk), "bytes") or 0)
    assert counted == sum(len(turn.body) for turn in turns(ledger, talk)) == 36


async def test_the_list_is_newest_first_page_by_page(ledger: ClockedLedger, aledger: AsyncLedger) -> None:
    talks = []
    for number in range(450):
        talks.append(begun(ledger, title=f"Talk {number % 10}"))
        if number % 3 == 0:
            ledger.pass_time(1)
    seen: list[str] = []
    before = None
    while True:
        page, before = await conversing.list_conversations(aledger, OWNER, limit=100, before=before)
        seen += [one.id for one in page]
        if before is None:
            break
    assert seen == talks[::-1]
    some, _ = await conversing.list_conversations(aledger, OWNER, limit=60, titled="7 TALK")
    assert [one.id for one in some] == [talk for talk in talks[::-1] if talks.index(talk) % 10 == 7]
