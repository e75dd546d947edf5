"""llm.chat over HTTP on the embedded default: a real model on this machine, without a key and without a network."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from over_http import ended, error, run, submit

pytestmark = pytest.mark.models

MODEL = "SmolLM2-135M-Instruct"
QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0}
STORY = {
    "messages": [{"role": "user", "content": "Tell a very long story about a king."}],
    "max_tokens": 1500,
}


def blocks(text: str) -> list[dict[str, str]]:
    """The fields of each event of a stream."""
    found = [dict(line.split(": ", 1) for line in block.splitlines() if line[:1] not in ("", ":"))
             for block in text.split("\n\n")]  # fmt: skip
    return [block for block in found if "event" in block]


def events(http: httpx.Client, job_id: str) -> list[tuple[str, dict[str, Any]]]:
    """The whole stream of an ended job."""
    text = http.get(f"/v1/jobs/{job_id}/events").text
    return [(block["event"], json.loads(block["data"])) for block in blocks(text)]


def test_the_local_model_answers_and_what_it_says_streams(http: httpx.Client) -> None:
    job = ended(http, submit(http, "llm.chat", QUESTION))
    output = job["output"]
    assert job["status"] == "succeeded" and "Paris" in output["message"]["content"]
    assert (output["provider"], output["model"], output["finish_reason"]) == ("local", MODEL, "stop")
    usage = output["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 10
    assert {name: job["usage"][name] for name in ("prompt_tokens", "completion_tokens")} == {
        name: usage[name] for name in ("prompt_tokens", "completion_tokens")
    }
    deltas = [data["text"] for kind, data in events(http, job["id"]) if kind == "delta"]
    assert len(deltas) > 3 and "".join(deltas) == output["message"]["content"]


def test_the_local_model_warns_of_what_it_says_in_another_language_than_english(http: httpx.Client) -> None:
    asked = {"messages": [{"role": "user", "content": "대한민국의 수도는 어디인가요?"}], "max_tokens": 5}
    warnings = ended(http, submit(http, "llm.chat", asked))["output"]["warnings"]
    assert len(warnings) == 1 and "made for English" in warnings[0] and "OPENAI_API_KEY" in warnings[0]
    assert "warnings" not in ended(http, submit(http, "llm.chat", QUESTION))["output"]


def test_a_stream_that_was_cut_goes_on_where_it_was(http: httpx.Client) -> None:
    job_id = submit(http, "llm.chat", {**STORY, "max_tokens": 120})
    heard = ""
    with http.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        for line in stream.iter_lines():
            heard += line + "\n"
            if line == "" and heard.count("event: delta") == 5:
                break  # in the middle of the answer
    before = blocks(heard)
    last_id = before[-1]["id"]
    rest = blocks(http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": last_id}).text)
    said = "".join(json.loads(block["data"])["text"] for block in before + rest if block["event"] == "delta")
    assert rest[-1]["event"] == "done" and len(rest) > 1
    assert said == ended(http, job_id)["output"]["message"]["content"]


def test_ten_megabytes_are_refused_and_harm_nobody(http: httpx.Client) -> None:
    value = {"messages": [{"role": "user", "content": "a" * 10_000_000}]}
    answer = http.post("/v1/jobs", json={"type": "llm.chat", "input": value})
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    assert run(http, "llm.chat", {**QUESTION, "max_tokens": 4})["message"]["content"]


def test_an_answer_can_be_json(http: httpx.Client) -> None:
    asked = [{"role": "user", "content": "Give the city and the country of the Eiffel tower as JSON."}]
    output = run(
        http,
        "llm.chat",
        {"messages": asked, "temperature": 0, "max_tokens": 200, "response_format": {"type": "json_object"}},
    )
    assert isinstance(json.loads(output["message"]["content"]), dict)


def test_an_answer_keeps_to_a_schema(http: httpx.Client) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
              "additionalProperties": False}  # fmt: skip
    output = run(
        http,
        "llm.chat",
        {**QUESTION, "max_tokens": 100,
         "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}},
    )  # fmt: skip
    assert set(json.loads(output["message"]["content"])) == {"city"}


def test_a_cancel_stops_the_model_within_a_second_and_keeps_what_was_said(http: httpx.Client) -> None:
    job_id = submit(http, "llm.chat", STORY)
    with http.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        lines = stream.iter_lines()
        while next(lines) != "event: delta":
            pass
        began = time.monotonic()
        assert http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
        assert any("event: done" in line for line in lines)
        assert time.monotonic() - began < 1
    job = ended(http, job_id)
    assert job["status"] == "canceled" and job["output"]["finish_reason"] == "canceled"
    said = "".join(data["text"] for kind, data in events(http, job_id) if kind == "delta")
    assert job["output"]["message"]["content"] == said != ""


def test_an_answer_that_is_cut_says_so(http: httpx.Client) -> None:
    output = run(http, "llm.chat", {**STORY, "max_tokens": 5})
    assert output["finish_reason"] == "length" and output["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize(
    ("value", "code", "says"),
    [
        ({**QUESTION, "provider": "openai"}, "provider-unauthorized", "OPENAI_API_KEY"),
        ({**QUESTION, "model": "gpt-4.1-mini"}, "provider-invalid", MODEL),
        ({"messages": [{"role": "user", "content": "word " * 5000}]}, "provider-invalid", "context size"),
        ({"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]}, "provider-invalid", "pictures"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_here_says_why(
    http: httpx.Client, value: dict[str, Any], code: str, says: str
) -> None:
    failed = error(http, "llm.chat", value)
    assert failed["code"] == code and says in failed["detail"]


def test_the_local_model_is_listed_and_can_be_named(http: httpx.Client) -> None:
    listed = {one["name"]: one for one in http.get("/v1/models").json()["data"]}[MODEL]
    assert (listed["kind"], listed["task"], listed["loaded"]) == ("chat", "chat", True)
    for name in (MODEL, f"HuggingFaceTB/{MODEL}"):
        assert run(http, "llm.chat", {**QUESTION, "model": name})["model"] == MODEL


def test_the_example_of_the_type_runs_as_it_stands(http: httpx.Client) -> None:
    example = http.get("/v1/job-types/llm.chat").json()["example"]
    assert run(http, "llm.chat", example)["message"]["content"]
