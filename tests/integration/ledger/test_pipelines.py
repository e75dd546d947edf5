"""Pipelines in the ledger: what each step gets, how the whole ends, and that a crash at any point changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from builders import LEASE_MS, OWNER, RUNNER
from clocked import START_MS, ClockedLedger
from couriers import Courier

from callboard_gateway.pipeline_submission import PipelineReader
from callboard_shared.files import FileRecord, Files, LocalStore
from callboard_shared.ids import new_id
from callboard_shared.ledger import Ended, JobRecord, conversing, filing, pipelining, settling, upkeep, verbs
from callboard_shared.ledger.keys import PIPELINES, of
from callboard_shared.ledger.pipelining import NewPipeline, PipelineRecord
from callboard_shared.states import JobStatus
from callboard_shared.submission import Reader

S = JobStatus
QUEUES = ("system", "llm", "tts", "nlp")
SENTENCE = "The 9:40 to Busan is boarding."

ECHO = {"type": "system.echo", "input": {"value": {"text": SENTENCE, "n": 7, "list": [1, {"b": None}]}}}
SPEAK = {"type": "tts.speech", "input": {"text": "Listen: ${see.output.value.text}"}}
TWO = {"see": ECHO, "voice": SPEAK}


@pytest.fixture
def courier(ledger: ClockedLedger, tmp_path: Path) -> Courier:
    return Courier(ledger, QUEUES, tmp_path)


def a_pipeline(steps: dict[str, Any], **more: Any) -> NewPipeline:
    return PipelineReader(Reader()).read({"steps": steps, **more}, OWNER)


def accepted(ledger: ClockedLedger, steps: dict[str, Any], **more: Any) -> NewPipeline:
    """Its record is written; nothing is submitted yet."""
    pipeline = a_pipeline(steps, **more)
    assert ledger.run(pipelining.put(pipeline))
    return pipeline


def begun(ledger: ClockedLedger, courier: Courier, steps: dict[str, Any], **more: Any) -> NewPipeline:
    pipeline = accepted(ledger, steps, **more)
    courier.dependents.carry_out(pipeline.id)
    return pipeline


def job(ledger: ClockedLedger, pipeline: NewPipeline, name: str) -> JobRecord:
    step = next(step for step in pipeline.steps if step.name == name)
    (record,) = ledger.run(verbs.read(step.queue, [step.job_id]))
    assert record is not None
    return record


def statuses(ledger: ClockedLedger, pipeline: NewPipeline) -> dict[str, str]:
    return {step.name: job(ledger, pipeline, step.name).status.value for step in pipeline.steps}


def record_of(ledger: ClockedLedger, pipeline: NewPipeline) -> PipelineRecord:
    record = ledger.run(pipelining.find(pipeline.id))
    assert record is not None
    return record


def run(
    ledger: ClockedLedger, pipeline: NewPipeline, name: str, outcome: Any = "succeeded", **more: Any
) -> None:
    """A worker claims the step's job and ends it; an echo gives its value."""
    step = next(step for step in pipeline.steps if step.name == name)
    claim = verbs.claim(step.queue, RUNNER, limits={step.type: (1, 0)}, max_jobs=1, lease_ms=LEASE_MS)
    (claimed,) = ledger.run(claim).jobs
    assert claimed.id == step.job_id
    value = orjson.loads(claimed.spec)["input"].get("value")
    output = more.pop("output", {"value": value}) if outcome == "succeeded" else None
    ended = Ended(
        step.job_id, claimed.attempt, outcome, output=orjson.dumps(output) if output else b"", **more
    )
    assert ledger.run(verbs.finish(step.queue, RUNNER, [ended])).results == ["committed"]


def outbox(ledger: ClockedLedger) -> list[tuple[str, str]]:
    rows = ledger.redis.xrange(of(PIPELINES, "outbox"))
    return [(fields[b"event"].decode(), fields[b"subject"].decode()) for _, fields in rows]


# --- what a step gets ---------------------------------------------------------------------------------------


def test_a_step_starts_with_what_the_step_before_gave(ledger: ClockedLedger, courier: Courier) -> None:
    pipeline = begun(ledger, courier, TWO)
    assert statuses(ledger, pipeline) == {"see": "queued", "voice": "blocked"}
    run(ledger, pipeline, "see")
    assert "tts" in courier.sweep()
    voice = job(ledger, pipeline, "voice")
    assert voice.status is S.QUEUED
    assert orjson.loads(voice.spec)["input"] == {"text": f"Listen: {SENTENCE}"}


def test_a_reference_alone_keeps_the_type_of_what_it_names(ledger: ClockedLedger, courier: Courier) -> None:
    value = {
        "whole": "${see.output.value.list}",
        "n": "${see.output.value.n}",
        "in": "n=${see.output.value.list.1}",
    }
    pipeline = begun(
        ledger, courier, {"see": ECHO, "again": {"type": "system.echo", "input": {"value": value}}}
    )
    run(ledger, pipeline, "see")
    courier.sweep()
    given = orjson.loads(job(ledger, pipeline, "again").spec)["input"]["value"]
    assert given == {"whole": [1, {"b": None}], "n": 7, "in": 'n={"b":null}'}


def test_a_number_may_come_by_reference_and_is_held_to_the_model(
    ledger: ClockedLedger, courier: Courier
) -> None:
    chat = {
        "type": "llm.chat",
        "input": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": "${see.output.value.n}"},
    }
    pipeline = begun(ledger, courier, {"see": ECHO, "say": chat})
    run(ledger, pipeline, "see")
    courier.sweep()
    assert orjson.loads(job(ledger, pipeline, "say").spec)["input"]["max_tokens"] == 7


def test_what_is_not_valid_when_filled_in_fails_the_step_and_names_the_field(
    ledger: ClockedLedger, courier: Courier
) -> None:
    pipeline = begun(
        ledger,
        courier,
        {"see": ECHO, "voice": {"type": "tts.speech", "input": {"text": "${see.output.value.n}"}}},
    )
    run(ledger, pipeline, "see")
    courier.sweep()
    voice = job(ledger, pipeline, "voice")
    error = orjson.loads(voice.error or b"{}")
    assert (voice.status, error["code"], error["errors"][0]["field"]) == (
        S.FAILED,
        "validation",
        "input.text",
    )
    assert ledger.redis.exists(of("tts", "waits", voice.id)) == 0
    assert ledger.redis.hget(of("tts", "waiting"), OWNER) is None


@pytest.mark.parametrize(
    ("path", "said"),
    [("value.sentence", "it has: text, n, list"), ("value.list.2", "a list of 2"), ("value.n.x", "a number")],
)
def test_a_reference_to_nothing_fails_the_step_and_says_what_there_is(
    ledger: ClockedLedger, courier: Courier, path: str, said: str
) -> None:
    voice = {"type": "tts.speech", "input": {"text": f"${{see.output.{path}}}"}}
    pipeline = begun(ledger, courier, {"see": ECHO, "voice": voice})
    run(ledger, pipeline, "see")
    courier.sweep()
    error = orjson.loads(job(ledger, pipeline, "voice").error or b"{}")
    assert (error["code"], error["errors"][0]["field"]) == ("reference-not-found", "input.text")
    assert said in error["detail"]


def test_a_step_expires_counted_from_when_it_can_start(ledger: ClockedLedger, courier: Courier) -> None:
    pipeline = begun(
        ledger, courier, {"see": ECHO | {"expires_in_s": None}, "voice": {**SPEAK, "expires_in_s": 60}}
    )
    ledger.pass_time(600_000)
    courier.sweep()
    assert statuses(ledger, pipeline) == {"see": "queued", "voice": "blocked"}
    run(ledger, pipeline, "see")
    courier.sweep()
    assert job(ledger, pipeline, "voice").expires_ms == ledger.now_ms + 60_000
    ledger.pass_time(60_000)
    courier.sweep()
    assert statuses(ledger, pipeline)["voice"] == "expired"
    courier.sweep()
    assert record_of(ledger, pipeline).status is S.FAILED


def test_a_step_with_a_time_waits_for_that_too(ledger: ClockedLedger, courier: Courier) -> None:
    at = datetime.fromtimestamp(START_MS / 1000 + 60, UTC).isoformat()
    pipeline = begun(ledger, courier, {"see": ECHO, "voice": {**SPEAK, "run_at": at}})
    run(ledger, pipeline, "see")
    courier.sweep()
    assert statuses(ledger, pipeline)["voice"] == "scheduled"
    ledger.pass_time(60_000)
    courier.sweep()
    assert statuses(ledger, pipeline)["voice"] == "queued"


def test_a_step_that_refers_to_two_waits_for_both(ledger: ClockedLedger, courier: Courier) -> None:
    both = {"type": "system.echo", "input": {"value": ["${a.output.value.n}", "${b.output.value.n}"]}}
    pipeline = begun(ledger, courier, {"a": ECHO, "b": {**ECHO, "after": ["a"]}, "both": both})
    assert statuses(ledger, pipeline) == {"a": "queued", "b": "blocked", "both": "blocked"}
    run(ledger, pipeline, "a")
    courier.sweep()
    assert statuses(ledger, pipeline)["both"] == "blocked"
    run(ledger, pipeline, "b")
    courier.sweep()
    assert orjson.loads(job(ledger, pipeline, "both").spec)["input"] == {"value": [7, 7]}


def stored(ledger: ClockedLedger, folder: Path, content: Any, owner: str = OWNER) -> FileRecord:
    record = Files(LocalStore(folder)).put_bytes(owner, "out.json", orjson.dumps(content), "application/json")
    ledger.run(filing.put_file(record))
    return record


def test_a_reference_leads_into_an_output_that_is_a_file(
    ledger: ClockedLedger, courier: Courier, tmp_path: Path
) -> None:
    pipeline = begun(ledger, courier, TWO)
    record = stored(ledger, tmp_path, {"value": {"text": SENTENCE, "much": "x" * 300_000}})
    run(ledger, pipeline, "see", output=record.reference(), files=(record.id,))
    courier.sweep()
    assert orjson.loads(job(ledger, pipeline, "voice").spec)["input"] == {"text": f"Listen: {SENTENCE}"}


def test_a_whole_large_output_is_passed_as_a_file(
    ledger: ClockedLedger, courier: Courier, tmp_path: Path
) -> None:
    training = {"type": "nlp.word2vec.train", "input": {"file": "${see.output}", "name": "words"}}
    pipeline = begun(ledger, courier, {"see": ECHO, "train": training})
    record = stored(ledger, tmp_path, {"value": "x" * 300_000})
    run(ledger, pipeline, "see", output=record.reference(), files=(record.id,))
    courier.sweep()
    train = job(ledger, pipeline, "train")
    assert train.status is S.QUEUED, train.error
    assert orjson.loads(train.spec)["input"]["file"]["file_id"] == record.id


def test_another_keys_file_is_no_file(ledger: ClockedLedger, courier: Courier, tmp_path: Path) -> None:
    record = stored(ledger, tmp_path, {"secret": 1}, owner="key_bob")
    see = {"type": "system.echo", "input": {"value": record.id}}
    training = {
        "type": "nlp.word2vec.train",
        "input": {"file": {"file_id": "${see.output.value}"}, "name": "words"},
    }
    pipeline = begun(ledger, courier, {"see": see, "train": training})
    run(ledger, pipeline, "see")
    courier.sweep()
    train = job(ledger, pipeline, "train")
    error = orjson.loads(train.error or b"{}")
    assert (train.status, error["code"]) == (S.FAILED, "unknown-file")
    assert error["errors"][0]["field"] == "input.file.file_id"


def test_more_than_an_input_may_hold_fails_the_step(ledger: ClockedLedger, courier: Courier) -> None:
    many = {"type": "system.echo", "input": {"value": ["${see.output.value}"] * 50}}
    see = {"type": "system.echo", "input": {"value": "x" * 200_000}}
    pipeline = begun(ledger, courier, {"see": see, "many": many})
    run(ledger, pipeline, "see")
    courier.sweep()
    assert orjson.loads(job(ledger, pipeline, "many").error or b"{}")["code"] == "too-large"


# --- conversations ------------------------------------------------------------------------------------------


def a_conversation(ledger: ClockedLedger) -> str:
    conversation_id = new_id("conv")
    ledger.run(conversing.create(OWNER, conversation_id, title="", model="", system="", most=0))
    return conversation_id


def contents(ledger: ClockedLedger, conversation_id: str) -> list[Any]:
    found = ledger.run(conversing.turns(OWNER, conversation_id))
    assert found is not None
    return [turn.content for turn in found[1]]


def test_a_message_joins_its_conversation_when_its_step_starts(
    ledger: ClockedLedger, courier: Courier
) -> None:
    conversation = a_conversation(ledger)
    say = {
        "type": "llm.chat",
        "input": {"conversation_id": conversation, "message": "Describe ${see.output.value.n}"},
    }
    pipeline = begun(ledger, courier, {"see": ECHO, "say": say})
    assert contents(ledger, conversation) == []
    run(ledger, pipeline, "see")
    courier.sweep()
    assert contents(ledger, conversation) == ["Describe 7"]
    found = ledger.run(conversing.find(OWNER, conversation))
    assert found is not None and found.running == job(ledger, pipeline, "say").id


def test_a_step_whose_conversation_is_busy_fails_and_says_with_what(
    ledger: ClockedLedger, courier: Courier
) -> None:
    conversation = a_conversation(ledger)
    chat = {"type": "llm.chat", "input": {"conversation_id": conversation, "message": "One"}}
    other = begun(ledger, courier, {"say": chat})
    pipeline = begun(ledger, courier, {"say": chat})
    error = orjson.loads(job(ledger, pipeline, "say").error or b"{}")
    assert (error["code"], error["job_id"]) == ("conversation-busy", job(ledger, other, "say").id)
    assert contents(ledger, conversation) == ["One"]


# --- how the whole ends -------------------------------------------------------------------------------------


HOOK = {"url": "https://example.com/hook"}


def test_a_pipeline_ends_with_its_last_step_and_says_so_once(ledger: ClockedLedger, courier: Courier) -> None:
    pipeline = begun(ledger, courier, TWO, webhook=HOOK)
    run(ledger, pipeline, "see")
    courier.sweep()
    assert record_of(ledger, pipeline).status is None
    run(ledger, pipeline, "voice", output={"file": {}})
    for _ in range(3):
        courier.sweep()
    record = record_of(ledger, pipeline)
    assert (record.status, record.finished_ms) == (S.SUCCEEDED, START_MS)
    assert outbox(ledger) == [("pipeline.succeeded", pipeline.id)]


def test_an_event_that_nobody_asked_for_is_not_in_the_outbox(ledger: ClockedLedger, courier: Courier) -> None:
    pipeline = begun(ledger, courier, {"see": ECHO}, webhook=HOOK | {"events": ["pipeline.failed"]})
    run(ledger, pipeline, "see")
    courier.sweep()
    assert record_of(ledger, pipeline).status is S.SUCCEEDED
    assert outbox(ledger) == []


def test_a_failed_step_ends_what_depends_on_it_and_nothing_else(
    ledger: ClockedLedger, courier: Courier
) -> None:
    pipeline = begun(ledger, courier, {**TWO, "loud": {**SPEAK, "after": ["voice"]}, "apart": ECHO})
    run(ledger, pipeline, "see", "failed", error=b'{"code":"x","detail":"why"}')
    courier.sweep()
    courier.sweep()
    assert statuses(ledger, pipeline) == {
        "see": "failed",
        "voice": "failed",
        "loud": "failed",
        "apart": "queued",
    }
    assert orjson.loads(job(ledger, pipeline, "loud").error or b"{}")["code"] == "dependency-failed"
    assert record_of(ledger, pipeline).status is None
    run(ledger, pipeline, "apart")
    courier.sweep()
    assert record_of(ledger, pipeline).status is S.FAILED


def test_a_canceled_pipeline_ends_as_canceled_when_what_ran_has_ended(
    ledger: ClockedLedger, courier: Courier
) -> None:
    pipeline = begun(ledger, courier, TWO, webhook=HOOK)
    limits = {"system.echo": (1, 0)}
    ledger.run(verbs.claim("system", RUNNER, limits=limits, max_jobs=1, lease_ms=LEASE_MS))
    assert ledger.run(pipelining.cancel(pipeline.id)) == "canceling"
    ledger.pass_time(5_000)  # whoever asked for it was killed before doing it
    courier.sweep()
    assert statuses(ledger, pipeline) == {"see": "canceling", "voice": "canceled"}
    ended = Ended(pipeline.steps[0].job_id, 1, "canceled")
    ledger.run(verbs.finish("system", RUNNER, [ended]))
    courier.sweep()
    assert record_of(ledger, pipeline).status is S.CANCELED
    assert outbox(ledger) == [("pipeline.canceled", pipeline.id)]
    assert ledger.run(pipelining.cancel(pipeline.id)) == "already-ended"


# --- crashes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", range(4))
def test_a_gateway_killed_after_accepting_is_made_good_by_the_sweep(
    ledger: ClockedLedger, courier: Courier, done: int
) -> None:
    """``done``: how many of the gateway's calls came through: half the jobs, all, the registrations, the first's start."""
    pipeline = accepted(ledger, TWO)
    for calls in (
        pipelining.submissions(pipeline.jobs[1:]),
        pipelining.submissions(pipeline.jobs),
        pipelining.registrations(pipeline.steps),
    )[:done]:
        ledger.run_many(calls)
    courier.sweep()  # too early: the gateway may be about to do it itself
    ledger.pass_time(5_000)
    courier.sweep()
    assert statuses(ledger, pipeline) == {"see": "queued", "voice": "blocked"}
    run(ledger, pipeline, "see")
    courier.sweep()
    run(ledger, pipeline, "voice", output={"file": {}})
    courier.sweep()
    assert record_of(ledger, pipeline).status is S.SUCCEEDED
    ledger.pass_time(60_000)
    courier.sweep()
    assert statuses(ledger, pipeline) == {"see": "succeeded", "voice": "succeeded"}


def test_a_pipeline_that_is_begun_twice_runs_once(ledger: ClockedLedger, courier: Courier) -> None:
    pipeline = begun(ledger, courier, TWO)
    run(ledger, pipeline, "see")
    assert not ledger.run(pipelining.put(pipeline))
    ledger.run_many(pipelining.submissions(pipeline.jobs))  # a gateway that was stopped for a while goes on
    ledger.run_many(pipelining.registrations(pipeline.steps))
    courier.sweep()
    assert statuses(ledger, pipeline) == {"see": "succeeded", "voice": "queued"}
    run(ledger, pipeline, "voice", output={"file": {}})
    courier.sweep()
    assert record_of(ledger, pipeline).status is S.SUCCEEDED


def test_a_dependency_that_ended_before_it_was_registered_is_found_by_the_sweep(
    ledger: ClockedLedger, courier: Courier
) -> None:
    pipeline = accepted(ledger, TWO)
    ledger.run_many(pipelining.submissions(pipeline.jobs))
    first = pipeline.jobs[0]
    courier.dependents.settle(first.id, first.queue, pipeline.id, "succeeded")
    run(ledger, pipeline, "see")
    ledger.pass_time(5_000)
    courier.sweep()
    assert orjson.loads(job(ledger, pipeline, "voice").spec)["input"] == {"text": f"Listen: {SENTENCE}"}
    assert statuses(ledger, pipeline)["voice"] == "queued"


def test_a_courier_killed_between_telling_and_striking_tells_again_in_vain(
    ledger: ClockedLedger, courier: Courier
) -> None:
    pipeline = begun(ledger, courier, TWO, webhook=HOOK)
    run(ledger, pipeline, "see")
    rows = ledger.run(verbs.sweep("system")).settle
    assert len(rows) == 2  # for the step that waits, and for the pipeline
    for row in rows:
        courier.dependents.settle_row("system", row)
    ledger.redis.sadd(of("system", "settle"), *rows)
    run(ledger, pipeline, "voice", output={"file": {}})
    (last,) = ledger.run(verbs.sweep("tts")).settle
    courier.dependents.settle_row("tts", last)
    ledger.redis.sadd(of("tts", "settle"), last)
    courier.sweep()
    assert statuses(ledger, pipeline) == {"see": "succeeded", "voice": "succeeded"}
    assert outbox(ledger) == [("pipeline.succeeded", pipeline.id)]
    assert ledger.run(upkeep.settlements("system")) == []


def test_two_couriers_that_fill_in_the_same_step_start_it_once(
    ledger: ClockedLedger, courier: Courier
) -> None:
    pipeline = begun(ledger, courier, TWO)
    run(ledger, pipeline, "see")
    voice = pipeline.jobs[1].id
    first, slow = (courier.dependents, Courier(ledger, QUEUES).dependents)
    assert ledger.run(settling.settle(voice, "tts", pipeline.jobs[0].id, "succeeded"))[1] == "unfilled"
    assert first.settle(voice, "tts", pipeline.jobs[0].id, "succeeded") is True
    run(ledger, pipeline, "voice", output={"file": {}})
    assert slow._make_whole(voice, "tts", pipeline.jobs[0].id) is False
    assert statuses(ledger, pipeline)["voice"] == "succeeded"


def test_a_step_canceled_while_it_is_filled_in_stays_canceled(
    ledger: ClockedLedger, courier: Courier
) -> None:
    pipeline = begun(ledger, courier, TWO)
    run(ledger, pipeline, "see")
    ledger.run(verbs.cancel(pipeline.jobs[1].id, "tts"))
    courier.dependents._make_whole(pipeline.jobs[1].id, "tts", pipeline.jobs[0].id)
    courier.sweep()
    assert statuses(ledger, pipeline)["voice"] == "canceled"
    assert record_of(ledger, pipeline).status is S.FAILED  # one of its steps was canceled, not the pipeline


# --- retention ----------------------------------------------------------------------------------------------


def test_a_steps_output_and_files_stay_until_the_pipeline_has_ended(
    ledger: ClockedLedger, courier: Courier, tmp_path: Path
) -> None:
    pipeline = begun(
        ledger, courier, {"see": {**ECHO, "retention_s": 1}, "voice": {**SPEAK, "retention_s": 300}}
    )
    record = stored(ledger, tmp_path, {"value": {"text": SENTENCE}})
    run(ledger, pipeline, "see", output=record.reference(), files=(record.id,))
    courier.sweep()
    ledger.pass_time(120_000)
    courier.sweep()
    assert job(ledger, pipeline, "see").status is S.SUCCEEDED and courier.freed == []
    run(ledger, pipeline, "voice", output={"file": {}})
    courier.sweep()
    ledger.pass_time(30_000)
    courier.sweep()
    assert ledger.run(verbs.read("system", [pipeline.jobs[0].id])) == [None]
    assert courier.freed == [record.id]
    assert record_of(ledger, pipeline).ends[pipeline.jobs[0].id] is S.SUCCEEDED
    ledger.pass_time(300_000)
    courier.sweep()
    assert ledger.run(pipelining.find(pipeline.id)) is None
    ledger.pass_time(60_000)
    courier.sweep()
    left = [key.decode() for key in ledger.redis.keys("cb:*") if b"stats" not in key and b"usage" not in key]
    assert left == [of("nlp", "bell")] or not [key for key in left if "job" in key or "pipe" in key]
