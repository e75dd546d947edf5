"""llm.chat by a provider, in the real worker: what streams, what is tried again, what is stopped."""

from __future__ import annotations

import time

import orjson
import pytest
from chats import Chats
from file_server import content, redirect, serving
from openai_server import KEY, MODEL, Fault, OpenAIDouble, Reply
from trials import until

from callboard_shared.ledger import filing, verbs

LONG = "word " * 400
COST_USD = (15 * 2.5 + 3 * 10) / 1e6
"""Of 15 tokens of gpt-4o's prompt and 3 of its answer."""


def test_an_answer_streams_and_is_kept_with_its_usage(chats: Chats, double: OpenAIDouble) -> None:
    double.plan.append(Reply("Paris, 파리! 🎉", pause_s=0.15))
    [job] = chats.submit({"system": "Be brief.", "temperature": 0, "max_tokens": 9})
    record = chats.ended(job)
    output = orjson.loads(record.output or b"")
    assert output == {
        "message": {"role": "assistant", "content": "Paris, 파리! 🎉"}, "finish_reason": "stop", "model": MODEL,
        "provider": "openai", "usage": {"prompt_tokens": 15, "completion_tokens": 3, "total_tokens": 18},
        "cost_usd": COST_USD,
    }  # fmt: skip
    deltas = [data["text"] for kind, data in chats.events(job) if kind == "delta"]
    assert len(deltas) == 3 and chats.said(job) == output["message"]["content"]
    usage = orjson.loads(record.usage or b"{}")
    assert usage == {"prompt_tokens": 15, "completion_tokens": 3, "tokens": 18, "cost_usd": COST_USD}
    asked = double.asked[0].body
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."} and asked["stream"] is True
    assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("gpt-4o", 0, 9)


def test_tool_calls_come_back_as_the_model_made_them(chats: Chats, double: OpenAIDouble) -> None:
    calls = (("call_1", "weather", '{"city": "서울"}'), ("call_2", "time", "{}"))
    double.plan.append(Reply(tool_calls=calls))
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    output = chats.run(tools=[tool], tool_choice="auto")
    assert output["finish_reason"] == "tool_calls" and "content" not in output["message"]
    assert [
        (one["id"], one["function"]["name"], one["function"]["arguments"])
        for one in output["message"]["tool_calls"]
    ] == list(calls)
    assert double.asked[0].body["tools"] == [tool]


def test_an_answer_by_a_schema_is_asked_for_as_it_stands(chats: Chats, double: OpenAIDouble) -> None:
    double.plan.append(Reply('{"city": "Paris"}'))
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
              "additionalProperties": False}  # fmt: skip
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    assert orjson.loads(chats.run(response_format=wanted)["message"]["content"]) == {"city": "Paris"}
    assert double.asked[0].body["response_format"] == wanted


@pytest.mark.models
def test_auto_is_openai_with_a_key_unless_the_local_model_is_named(
    chats: Chats, double: OpenAIDouble
) -> None:
    assert chats.run()["provider"] == "openai"
    local = chats.run(model="SmolLM2-135M-Instruct", max_tokens=8)
    assert (local["provider"], local["model"], local["cost_usd"]) == ("local", "SmolLM2-135M-Instruct", 0)
    assert len(double.asked) == 1


def test_an_answer_that_is_too_long_says_so(chats: Chats, double: OpenAIDouble) -> None:
    double.plan.append(Reply("The capital", finish_reason="length"))
    assert chats.run()["finish_reason"] == "length"


def test_a_server_that_does_not_count_gives_an_answer_without_usage(
    chats: Chats, double: OpenAIDouble
) -> None:
    double.plan.append(Reply(usage=False))
    output = chats.run()
    assert output["message"]["content"] and "usage" not in output


def test_a_picture_goes_with_its_bytes(chats: Chats, double: OpenAIDouble) -> None:
    png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(16)
    record = chats.trial.files.put_bytes("key_a", "a.png", png)
    chats.trial.ledger.run(filing.put_file(record))
    part = {"type": "image_url", "image_url": {"file_id": record.id}}
    chats.run(messages=[{"role": "user", "content": [part]}])
    url = double.asked[0].body["messages"][0]["content"][0]["image_url"]["url"]
    assert url.startswith("data:image/png;base64,iVBOR")
    stranger = chats.submit({"messages": [{"role": "user", "content": [part]}]}, owner="key_b")
    assert chats.error(chats.ended(stranger[0]))["code"] == "file-not-found"


def test_a_picture_at_an_address_is_fetched_by_the_worker(chats: Chats, double: OpenAIDouble) -> None:
    png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(16)
    inside = redirect("http://169.254.169.254/latest/meta-data/")
    with serving({"/a.png": content(png), "/inside": inside, "/page": content(b"<html></html>")}) as server:
        asked = [
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}
            for url in (f"{server.url}/a.png", f"{server.url}/inside", f"{server.url}/page")
        ]
        seen, blocked, page = [chats.ended(job) for job in chats.submit(*asked)]
    assert seen.status == "succeeded"
    [[message]] = [one.body["messages"] for one in double.asked]
    assert message["content"][0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert (blocked.status, chats.error(blocked)["code"], blocked.attempt) == ("failed", "url-blocked", 1)
    assert (page.status, chats.error(page)["code"], page.attempt) == ("failed", "provider-invalid", 1)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(401, "invalid_api_key", f"Incorrect API key provided: {KEY}."), "provider-unauthorized"),
        (Fault(400, "invalid_value", "Too hot.", param="temperature"), "provider-invalid"),
        (Fault(404, "model_not_found", "There is no such model."), "provider-invalid"),
        (Fault(400, "content_policy_violation", "No."), "provider-refused"),
        (Reply(refusal="I cannot help with that."), "provider-refused"),
        (Reply("I", finish_reason="content_filter"), "provider-refused"),
    ],
)
def test_what_will_not_get_better_ends_the_job_at_once(
    chats: Chats, double: OpenAIDouble, fault: Fault | Reply, code: str
) -> None:
    double.plan.append(fault)
    record = chats.ended(chats.submit({})[0])
    error = chats.error(record)
    assert (record.status, error["code"], error["retryable"], record.attempt) == ("failed", code, False, 1)
    assert len(double.asked) == 1 and KEY not in str(error)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(500, None, type="server_error"), "provider-unavailable"),
        (Fault(502, body=b"<html>Bad Gateway</html>"), "provider-unavailable"),
        (Reply(breaks_after=4), "provider-unavailable"),
        (Reply(ends_after=4), "provider-unavailable"),
        (Reply(fault_after=(4, "server_error")), "provider-unavailable"),
        (Reply(raw=b"data: {nonsense\n\n"), "provider-unavailable"),
        (Reply(raw=b""), "provider-unavailable"),
        (Reply(first_s=30), "provider-timeout"),
        (Reply(pause_s=30), "provider-timeout"),
        (Fault(429, "rate_limit_exceeded", headers={"retry-after": "0.2"}), "provider-rate-limited"),
    ],
)
def test_what_may_get_better_is_tried_again_and_counted_once(
    chats: Chats, double: OpenAIDouble, fault: Fault | Reply, code: str
) -> None:
    double.plan.append(fault)
    [job] = chats.submit({})
    failed = until(lambda: chats.trial.read(job, "llm").error, 10, "the first attempt has failed")
    assert orjson.loads(failed)["code"] == code
    record = chats.ended(job)
    output = orjson.loads(record.output or b"")
    assert (record.status, record.attempt) == ("succeeded", 2)
    assert output["message"]["content"] == chats.said(job) == "The capital of France is Paris."
    usage = orjson.loads(record.usage or b"")
    assert usage["tokens"] == 19 and usage["cost_usd"] == output["cost_usd"], (
        "of one attempt, and not of both"
    )
    begun = [
        data["attempt"]
        for kind, data in chats.events(job)
        if (kind, data.get("status")) == ("status", "running")
    ]
    assert begun == [1, 2], "whoever listens knows where the answer begins anew"


def test_retry_after_is_waited_for(chats: Chats, double: OpenAIDouble) -> None:
    double.plan.append(Fault(429, "rate_limit_exceeded", headers={"retry-after": "2"}))
    chats.run()
    first, second = double.asked
    assert 2 <= second.at - first.at < 4.5


def test_attempts_are_bounded_and_the_last_reason_is_told(chats: Chats, double: OpenAIDouble) -> None:
    double.usual = lambda body: Fault(503)
    record = chats.ended(chats.submit({}, max_attempts=2)[0])
    assert (record.status, chats.error(record)["code"]) == ("failed", "provider-unavailable")
    assert len(double.asked) == 2


def test_a_cancel_stops_the_provider_within_a_second_and_keeps_what_was_said(
    chats: Chats, double: OpenAIDouble
) -> None:
    double.plan.append(Reply(LONG, pause_s=0.05))
    [job] = chats.submit({})
    chats.await_delta(job)
    asked_at = time.monotonic()
    chats.cancel(job)
    record = chats.ended(job)
    until(lambda: double.left_at, 2, "the provider was left")
    assert double.left_at[0] - asked_at < 1 and time.monotonic() - asked_at < 2
    output = orjson.loads(record.output or b"")
    assert (record.status, output["finish_reason"]) == ("canceled", "canceled")
    assert output["message"]["content"] == chats.said(job)
    assert 0 < len(output["message"]["content"]) < len(LONG)


def test_a_job_past_its_time_stops_the_provider_too(chats: Chats, double: OpenAIDouble) -> None:
    double.plan.append(Reply(LONG, pause_s=0.05))
    record = chats.ended(chats.submit({}, timeout_ms=700)[0])
    assert (record.status, chats.error(record)["code"]) == ("failed", "timeout")
    until(lambda: double.left_at, 2, "the provider was left")


def test_a_connection_is_kept_for_the_next_chat_also_after_the_worker_was_idle(
    chats: Chats, double: OpenAIDouble
) -> None:
    chats.run()
    until(lambda: not chats.trial.ledger.run(verbs.runners("llm")), 10, "the worker has hung up")
    chats.run()
    assert len({asked.port for asked in double.asked}) == 1


def test_the_key_is_nowhere_but_in_the_request(chats: Chats, double: OpenAIDouble) -> None:
    """Also where a provider repeats it, at the most talkative level of the log; and no log tells what was said."""
    secret = "the moon is made of cheese"
    double.plan += [
        Fault(400, "invalid_value", f"{KEY} said: {secret}"), Fault(401, None, f"Incorrect API key: {KEY}."),
        Fault(500, None, KEY), Reply(f"{secret}"), Reply(breaks_after=2), Reply(),
    ]  # fmt: skip
    asked = {"messages": [{"role": "user", "content": secret}]}
    jobs = chats.submit(asked, asked, asked, asked)
    chats.trial.ended(jobs, 20, "llm")
    assert any(one.headers["authorization"] == f"Bearer {KEY}" for one in double.asked)
    kept = chats.trial.everything()
    assert KEY.encode() not in kept and KEY[:16].encode() not in kept
    log = chats.worker.output()
    assert "worker.online" in log and KEY[:16] not in log and secret not in log
