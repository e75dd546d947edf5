"""A pipeline's submission becomes jobs for the ledger, or a problem that names every fault by its path."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from callboard_gateway.pipeline_submission import MOST_REFERENCES, MOST_STEPS, PipelineReader
from callboard_shared.errors import Invalid, Malformed
from callboard_shared.ids import is_id
from callboard_shared.ledger.pipelining import NewPipeline
from callboard_shared.submission import Reader

SAY = {"type": "llm.chat", "input": {"messages": [{"role": "user", "content": "Hello"}]}}
VOICE = {"type": "tts.speech", "input": {"text": "${say.output.message.content}"}}
ECHO = {"type": "system.echo", "input": {"value": 1}}


def read(steps: Any, **more: Any) -> NewPipeline:
    return PipelineReader(Reader()).read({"steps": steps, **more}, "key_x", "00-trace")


def faults(steps: Any, **more: Any) -> dict[str, str]:
    """Field and code of each fault."""
    with pytest.raises(Invalid) as caught:
        read(steps, **more)
    return {fault["field"]: fault["code"] for fault in caught.value.errors or ()}


def chat(content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "llm.chat", "input": {"messages": [{"role": "user", "content": content}], **more}}


def test_references_make_the_order() -> None:
    pipeline = read({"voice": VOICE, "say": SAY})
    assert [(step.name, step.queue, step.needs) for step in pipeline.steps] == [
        ("voice", "tts", ("say",)),
        ("say", "llm", ()),
    ]
    voice, say = pipeline.jobs
    assert (voice.after, say.after) == ((say.id,), ())
    assert is_id(pipeline.id, "pipe") and voice.pipeline == say.pipeline == pipeline.id
    spec = orjson.loads(voice.spec)
    assert spec["after"] == [say.id]
    assert spec["pipeline"]["takes"] == {"say": ["llm", say.id]}
    assert (spec["input"], spec["traceparent"]) == (VOICE["input"], "00-trace")
    assert "takes" not in orjson.loads(say.spec)["pipeline"]


def test_after_makes_an_order_without_data() -> None:
    pipeline = read({"a": ECHO, "b": {**ECHO, "after": ["a", "a"]}})
    assert pipeline.steps[1].needs == ("a",)
    assert pipeline.jobs[1].after == (pipeline.jobs[0].id,)


def test_a_step_has_the_options_of_a_job() -> None:
    step = ECHO | {
        "priority": 3,
        "timeout_s": 7,
        "max_attempts": 5,
        "metadata": {"a": "b"},
        "retention_s": 60,
    }
    pipeline = read({"a": step, "b": ECHO}, metadata={"order": "17"})
    job = pipeline.jobs[0]
    assert (job.priority, job.timeout_ms, job.max_attempts, job.retention_ms) == (3, 7_000, 5, 60_000)
    assert orjson.loads(job.spec)["metadata"] == {"a": "b"}
    assert pipeline.metadata == {"order": "17"}
    assert pipeline.retention_ms == max(one.retention_ms for one in pipeline.jobs)


def test_a_literal_mark_reaches_the_job_as_it_is_meant() -> None:
    pipeline = read({"a": chat("Say $${name}")})
    assert orjson.loads(pipeline.jobs[0].spec)["input"]["messages"][0]["content"] == "Say ${name}"


@pytest.mark.parametrize(
    ("steps", "field", "code"),
    [
        ({}, "steps", "too_short"),
        ({f"s{i}": ECHO for i in range(MOST_STEPS + 1)}, "steps", "too_long"),
        ({"1a": ECHO}, "steps.1a.[key]", "string_pattern_mismatch"),
        ({"a b": ECHO}, "steps.a b.[key]", "string_pattern_mismatch"),
        ({"a": 1}, "steps.a", "dict_type"),
        ({"a": {"input": {}}}, "steps.a.type", "missing"),
        ({"a": {"type": "llm.chatt", "input": {}}}, "steps.a.type", "unknown-type"),
        ({"a": {"type": "system.echo"}}, "steps.a.input", "missing"),
        ({"a": ECHO | {"nothing": 1}}, "steps.a.nothing", "extra_forbidden"),
        ({"a": ECHO | {"priority": 11}}, "steps.a.priority", "less_than_equal"),
        ({"a": ECHO | {"after": ["b"]}}, "steps.a.after.0", "unknown-step"),
        ({"a": ECHO | {"after": ["a"]}}, "steps.a.after.0", "self-reference"),
        ({"a": ECHO | {"after": ["job 1"]}}, "steps.a.after.0", "string_pattern_mismatch"),
        ({"a": chat("${b.output.x}")}, "steps.a.input.messages.0.content", "unknown-step"),
        ({"a": chat("${a.output.message}")}, "steps.a.input.messages.0.content", "self-reference"),
        ({"a": chat("${a}")}, "steps.a.input.messages.0.content", "bad-reference"),
        ({"a": chat("$HOME ${HOME}")}, "steps.a.input.messages.0.content", "bad-reference"),
        ({"say": SAY, "v": chat("${say.output.text}")}, "steps.v.input.messages.0.content", "unknown-output"),
        ({"say": SAY, "v": chat("${say.output.message.text}")}, "steps.v.input.messages.0.content", "unknown-output"),
        ({"a": ECHO, "m": {"type": "system.echo", "input": {"value": ["${a.output.value}"] * (MOST_REFERENCES + 1)}}},
         "steps.m.input", "too-many-references"),
        ({"a": ECHO | {"webhook": {"url": "http://10.0.0.1/"}}}, "steps.a.webhook.url", "url-not-allowed"),
    ],
)  # fmt: skip
def test_a_fault_is_named_where_it_is(steps: Any, field: str, code: str) -> None:
    assert faults(steps) == {field: code}


@pytest.mark.parametrize(
    "steps",
    [
        {"a": ECHO | {"after": ["b"]}, "b": ECHO | {"after": ["a"]}},
        {
            "a": chat("${c.output.value}"),
            "b": chat("${a.output.message.content}"),
            "c": ECHO | {"after": ["b"]},
        },
    ],
)
def test_a_circle_is_told_step_by_step(steps: Any) -> None:
    with pytest.raises(Invalid, match=r"wait for each other: [abc]( → [abc])+") as caught:
        read(steps)
    assert [fault["code"] for fault in caught.value.errors or ()] == ["cycle"]


def test_every_fault_is_named_at_once() -> None:
    steps = {"a": ECHO | {"priority": 11}, "b": {"type": "x"}, "c": chat("${d.output}", temperature=9)}
    assert faults(steps) == {
        "steps.a.priority": "less_than_equal",
        "steps.b.type": "unknown-type",
        "steps.c.input.messages.0.content": "unknown-step",
        "steps.c.input.temperature": "less_than_equal",
    }


@pytest.mark.parametrize(
    "more",
    [
        {"extra": 1},
        {"webhook": {"url": "https://example.com", "events": ["job.failed"]}},
        {"metadata": {"a": 1}},
    ],
)
def test_the_frame_is_checked_too(more: dict[str, Any]) -> None:
    (field,) = faults({"a": ECHO}, **more)
    assert field.split(".")[0] == next(iter(more))


def test_a_webhook_hears_of_every_ending_unless_it_says() -> None:
    assert (
        read({"a": ECHO}, webhook={"url": "https://example.com"}).hook
        == "succeeded,failed,canceled https://example.com"
    )
    some = {"url": "https://example.com", "events": ["pipeline.failed"]}
    assert read({"a": ECHO}, webhook=some).hook == "failed https://example.com"


# --- inputs that are still to be made: all is checked that no reference decides -----------------------------


def test_what_has_no_reference_is_checked_at_once() -> None:
    voice = {"type": "tts.speech", "input": VOICE["input"] | {"format": "tape", "speed": 1}}
    assert faults({"say": SAY, "voice": voice}) == {
        "steps.voice.input.format": "literal_error",
        "steps.voice.input.speed": "extra_forbidden",
    }


def test_a_field_that_there_is_not_is_told_also_where_a_reference_fills_it() -> None:
    voice = {"type": "tts.speech", "input": {"text": "a", "texts": "${say.output.message.content}"}}
    assert faults({"say": SAY, "voice": voice}) == {"steps.voice.input.texts": "extra_forbidden"}


def test_what_is_missing_is_told_also_beside_a_reference() -> None:
    voice = {"type": "tts.speech", "input": {"voice": "${say.output.message.content}"}}
    assert faults({"say": SAY, "voice": voice}) == {"steps.voice.input.text": "missing"}


@pytest.mark.parametrize(
    "step",
    [
        chat(
            "Hi",
            max_tokens="${n.output.value}",
            temperature="${n.output.value.t}",
            tools="${n.output.value.0}",
        ),
        chat([{"type": "text", "text": "${n.output.value}"}]),
        {"type": "llm.chat", "input": {"messages": "${n.output.value}"}},
        {"type": "llm.chat", "input": {"messages": [{"role": "${n.output.value}", "content": "x"}]}},
        {"type": "llm.chat", "input": {"messages": ["${n.output.value}"]}},
        {"type": "llm.chat", "input": {"conversation_id": "${n.output.value}", "message": "x"}},
        {"type": "llm.chat", "input": "${n.output.value}"},
        {"type": "nlp.word2vec.train", "input": {"file": "${n.output}"}},
        {"type": "nlp.word2vec.train", "input": {"file": {"file_id": "${n.output.value}"}}},
        {"type": "tts.speech", "input": {"text": "${n.output.value}", "bitrate": "${n.output.value}"}},
    ],
)
def test_a_reference_may_stand_wherever_a_value_may(step: dict[str, Any]) -> None:
    pipeline = read({"n": ECHO, "x": step})
    assert pipeline.steps[1].needs == ("n",)


def test_a_nesting_without_end_is_malformed() -> None:
    value: Any = "${n.output.value}"
    for _ in range(101):
        value = [value]
    with pytest.raises(Malformed):
        read({"n": ECHO, "x": {"type": "system.echo", "input": {"value": value}}})
