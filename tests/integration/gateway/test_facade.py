"""The facade where no real model would do: failures, hang-ups, limits; a worker's side by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai
import orjson
import pytest
from pydantic import SecretStr

from callboard_gateway.settings import GatewaySettings
from callboard_shared.ledger import ClaimedJob, Ended, verbs

ADMIN_KEY = "cb_testtest_" + "k" * 43
ASKED: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
OUTPUT = {
    "message": {"role": "assistant", "content": "Hi there."}, "finish_reason": "stop", "model": "gpt-4o",
    "provider": "openai", "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}  # fmt: skip
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Seoul"}'}}


class LlmWorker:
    """Claims and ends chats."""

    def __init__(self, gateway: Any) -> None:
        self._ledger = gateway.app.state.ledger

    async def claim(self) -> ClaimedJob:
        async with asyncio.timeout(10):
            while True:
                call = verbs.claim("llm", "llm@test#1", limits={}, max_jobs=1, lease_ms=15_000)
                if jobs := (await self._ledger.run(call)).jobs:
                    return jobs[0]
                await asyncio.sleep(0.01)

    async def say(self, job: ClaimedJob, *texts: str) -> None:
        events = [("delta", orjson.dumps({"text": text})) for text in texts]
        await self._ledger.run(verbs.report("llm", "llm@test#1", job.id, job.attempt, events))

    async def end(self, job: ClaimedJob, outcome: Any = "succeeded", **more: Any) -> None:
        fields = {"output": orjson.dumps(OUTPUT)} if outcome == "succeeded" and "output" not in more else {}
        ended = Ended(job.id, job.attempt, outcome, **fields, **more)
        assert (await self._ledger.run(verbs.finish("llm", "llm@test#1", [ended]))).results == ["committed"]


@pytest.fixture
def llm(gateway: Any) -> LlmWorker:
    return LlmWorker(gateway)


@pytest.fixture
def sdk(served: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{served}/openai/v1", api_key=ADMIN_KEY, max_retries=0)


async def test_calls_of_tools_come_whole_and_streamed(sdk: openai.AsyncOpenAI, llm: LlmWorker) -> None:
    output = {**OUTPUT, "finish_reason": "tool_calls", "message": {"role": "assistant", "tool_calls": [CALL]}}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    for stream in (False, True):
        asking = asyncio.create_task(sdk.chat.completions.create(**ASKED, tools=tools, stream=stream))
        job = await llm.claim()
        assert orjson.loads(job.spec)["input"]["tools"] == tools
        await llm.end(job, output=orjson.dumps(output))
        answer = await asking
        if stream:
            chunks = [chunk async for chunk in answer]
            calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
            assert chunks[-1].choices[0].finish_reason == "tool_calls"
        else:
            calls = answer.choices[0].message.tool_calls
            assert (
                answer.choices[0].finish_reason == "tool_calls" and answer.choices[0].message.content is None
            )
        assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
            ("call_1", "weather", '{"city":"Seoul"}')
        ]


async def test_a_conversation_with_tools_is_passed_on(sdk: openai.AsyncOpenAI, llm: LlmWorker) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Rain?"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]  # fmt: skip
    asking = asyncio.create_task(sdk.chat.completions.create(model="gpt-4o", messages=messages))  # type: ignore[arg-type]
    job = await llm.claim()
    said = orjson.loads(job.spec)["input"]["messages"]
    assert [one["role"] for one in said] == ["system", "user", "assistant", "tool"]
    assert said[2] == {"role": "assistant", "tool_calls": [CALL]}
    await llm.end(job)
    assert (await asking).choices[0].message.content == "Hi there."


async def test_a_picture_at_an_address_that_is_not_allowed_is_refused_at_once(
    sdk: openai.AsyncOpenAI,
) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://169.254.169.254/latest/meta-data/"}}
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": [part]}])  # type: ignore[arg-type,list-item]
    assert refused.value.code == "url_not_allowed"
    assert refused.value.param == "messages[0].content[0].image_url.url"


@pytest.mark.parametrize(
    ("problem", "error", "code"),
    [
        ({"code": "provider-unauthorized", "status": 500, "retryable": False}, openai.InternalServerError, "provider_unauthorized"),
        ({"code": "provider-rate-limited", "status": 500, "retryable": True}, openai.RateLimitError, "rate_limit_exceeded"),
        ({"code": "provider-invalid", "status": 500, "retryable": False}, openai.BadRequestError, "provider_invalid"),
        ({"code": "provider-refused", "status": 500, "retryable": False}, openai.BadRequestError, "content_filter"),
        ({"code": "url-blocked", "status": 500, "retryable": False}, openai.BadRequestError, "url_blocked"),
        ({"code": "unknown-model", "status": 422, "retryable": False}, openai.NotFoundError, "model_not_found"),
    ],
)  # fmt: skip
async def test_a_job_that_fails_is_an_error_of_the_right_kind_streamed_or_not(
    sdk: openai.AsyncOpenAI,
    llm: LlmWorker,
    problem: dict[str, Any],
    error: type[openai.APIStatusError],
    code: str,
) -> None:
    for stream in (False, True):
        asking = asyncio.create_task(sdk.chat.completions.create(**ASKED, stream=stream))
        await llm.end(await llm.claim(), "failed", error=orjson.dumps({**problem, "detail": "Why."}))
        with pytest.raises(error) as caught:
            await asking
        assert caught.value.code == code and "Why." in str(caught.value)


async def test_a_failure_after_the_first_words_ends_the_stream_with_an_error(
    sdk: openai.AsyncOpenAI, llm: LlmWorker
) -> None:
    asking = asyncio.create_task(sdk.chat.completions.create(**ASKED, stream=True))
    job = await llm.claim()
    await llm.say(job, "Hi ", "there")
    stream = await asking
    heard = ""

    async def listen() -> None:
        nonlocal heard
        async for chunk in stream:
            heard += chunk.choices[0].delta.content or ""
            if heard == "Hi there":
                problem = {"code": "provider-timeout", "detail": "Silent."}
                await llm.end(job, "failed", error=orjson.dumps(problem))

    with pytest.raises(openai.APIError) as caught:
        await listen()
    assert heard == "Hi there" and "Silent." in str(caught.value)


async def test_words_come_as_soon_as_they_are_said(sdk: openai.AsyncOpenAI, llm: LlmWorker) -> None:
    asking = asyncio.create_task(sdk.chat.completions.create(**ASKED, stream=True))
    job = await llm.claim()
    await llm.say(job, "one ")
    stream = aiter(await asking)
    assert (await anext(stream)).choices[0].delta.role == "assistant"
    assert (await anext(stream)).choices[0].delta.content == "one "
    await llm.say(job, "two")
    assert (await anext(stream)).choices[0].delta.content == "two"
    await llm.end(job)
    assert (await anext(stream)).choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_who_hangs_up_before_an_answer_cancels_the_job(
    served: str, gateway: Any, client: httpx.AsyncClient, stream: bool
) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=served, headers=headers) as caller:
        asking = asyncio.create_task(
            caller.post("/openai/v1/chat/completions", json={**ASKED, "stream": stream})
        )
        async with asyncio.timeout(10):
            while not (jobs := (await client.get("/v1/jobs")).json()["data"]):
                await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking])
        ended = (await client.get(f"/v1/jobs/{jobs[0]['id']}?wait=10")).json()
    assert ended["status"] == "canceled"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 2}, "n"), ({"logprobs": True}, "logprobs"), ({"frequency_penalty": 1.0}, "frequency_penalty"),
        ({"colour": "red"}, "colour"), ({"temperature": 9}, "temperature"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"), ({"messages": []}, "messages"),
    ],
)  # fmt: skip
async def test_what_is_not_understood_is_a_400_that_names_it(
    sdk: openai.AsyncOpenAI, more: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.post("/chat/completions", body={**ASKED, **more}, cast_to=object)
    assert caught.value.param == param and caught.value.type == "invalid_request_error"


async def test_what_changes_nothing_is_taken(sdk: openai.AsyncOpenAI, llm: LlmWorker) -> None:
    more = {
        "n": 1,
        "user": "u",
        "store": False,
        "metadata": {"a": "b"},
        "frequency_penalty": 0,
        "service_tier": "auto",
    }
    asking = asyncio.create_task(sdk.chat.completions.create(**ASKED, **more, parallel_tool_calls=True))
    await llm.end(await llm.claim())
    assert (await asking).choices[0].message.content == "Hi there."


@pytest.mark.parametrize("path", ["/openai/v1/embedding", "/openai/v1/files/file_x/content"])
async def test_what_is_not_there_is_said_in_openais_shape(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404 and set(answer.json()) == {"error"}
    assert answer.headers["content-type"] == "application/json"


class TestLimits:
    @pytest.fixture
    def settings(self) -> GatewaySettings:
        return GatewaySettings(admin_key=SecretStr(ADMIN_KEY), max_waiting_jobs=1, max_json_bytes=100_000)

    async def test_hold_for_the_facade_too(self, sdk: openai.AsyncOpenAI, client: httpx.AsyncClient) -> None:
        await client.post("/v1/jobs", json={"type": "llm.chat", "input": {"messages": ASKED["messages"]}})
        for stream in (False, True):
            with pytest.raises(openai.RateLimitError) as caught:
                await sdk.chat.completions.create(**ASKED, stream=stream)
            assert caught.value.code == "rate_limit_exceeded"
            assert float(caught.value.response.headers["retry-after"]) > 0
        with pytest.raises(openai.APIStatusError) as too_large:
            await sdk.embeddings.create(model="all-MiniLM-L6-v2", input="x" * 200_000)
        assert too_large.value.status_code == 413

    async def test_a_key_without_the_scope_is_refused(self, gateway: Any, served: str) -> None:
        made = (await gateway.client.post("/v1/keys", json={"name": "r", "scopes": ["jobs:read"]})).json()
        async with openai.AsyncOpenAI(
            base_url=f"{served}/openai/v1", api_key=made["key"], max_retries=0
        ) as reader:
            assert [model async for model in reader.models.list()]
            with pytest.raises(openai.PermissionDeniedError):
                await reader.chat.completions.create(**ASKED)
