"""OpenAI's own library works against the double as it does against OpenAI: only then is it a fair stand-in."""

from __future__ import annotations

import openai
import pytest
from openai_server import KEY, MODEL, Fault, OpenAIDouble, Reply
from pydantic import BaseModel

ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
CALL = ("call_1", "weather", '{"city": "Seoul"}')


def client(double: OpenAIDouble, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=double.url, max_retries=0)


def test_an_answer_comes_whole(double: OpenAIDouble) -> None:
    got = client(double).chat.completions.create(**ASKED)  # type: ignore[call-overload]
    assert got.choices[0].message.content == "The capital of France is Paris."
    assert (got.model, got.choices[0].finish_reason, got.usage.total_tokens) == (MODEL, "stop", 19)
    assert double.asked[0].body == ASKED


def test_the_stream_of_the_library_puts_together_what_was_said(double: OpenAIDouble) -> None:
    double.plan += [Reply("Hello, 세계! 🎉"), Reply(tool_calls=(CALL, ("call_2", "time", "{}")))]
    streaming = client(double).chat.completions.stream
    with streaming(**ASKED, stream_options={"include_usage": True}) as stream:  # type: ignore[arg-type]
        said = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()
    assert said == final.choices[0].message.content == "Hello, 세계! 🎉"
    assert final.usage is not None and final.usage.completion_tokens == 3
    with streaming(**ASKED) as stream:  # type: ignore[arg-type]
        calls = stream.get_final_completion().choices[0].message.tool_calls or []
    assert [(one.id, one.function.name, one.function.arguments) for one in calls] == [
        CALL,
        ("call_2", "time", "{}"),
    ]


def test_the_library_reads_an_answer_by_a_schema(double: OpenAIDouble) -> None:
    class City(BaseModel):
        name: str

    double.plan.append(Reply('{"name": "Paris"}'))
    got = client(double).chat.completions.parse(**ASKED, response_format=City)  # type: ignore[arg-type]
    assert got.choices[0].message.parsed == City(name="Paris")
    assert double.asked[0].body["response_format"]["json_schema"]["name"] == "City"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(400, "invalid_value", param="temperature"), openai.BadRequestError),
        (Fault(403, "unsupported_country_region_territory"), openai.PermissionDeniedError),
        (Fault(404, "model_not_found"), openai.NotFoundError),
        (Fault(429, "rate_limit_exceeded", headers={"retry-after": "2"}), openai.RateLimitError),
        (Fault(500, None, type="server_error"), openai.InternalServerError),
    ],
)
def test_the_library_raises_the_error_of_a_fault(
    double: OpenAIDouble, fault: Fault, error: type[openai.APIStatusError]
) -> None:
    double.plan.append(fault)
    with pytest.raises(error) as raised:
        client(double).chat.completions.create(**ASKED)  # type: ignore[call-overload]
    assert (raised.value.status_code, raised.value.code) == (fault.status, fault.code)


def test_another_key_is_refused_and_no_messages_are_too(double: OpenAIDouble) -> None:
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
        client(double, "sk-other").chat.completions.create(**ASKED)  # type: ignore[call-overload]
    with pytest.raises(openai.BadRequestError, match="empty array"):
        client(double).chat.completions.create(model="gpt-4o", messages=[])
    with pytest.raises(openai.NotFoundError):
        client(double).embeddings.create(model="m", input="a")


def test_a_stream_that_breaks_raises_in_the_library_and_one_that_ends_does_not(double: OpenAIDouble) -> None:
    double.plan += [Reply(breaks_after=3), Reply(ends_after=3), Reply(fault_after=(3, "server_error"))]
    asking = client(double)
    with pytest.raises(openai.APIConnectionError):
        list(asking.chat.completions.create(**ASKED, stream=True))  # type: ignore[call-overload]
    said = list(asking.chat.completions.create(**ASKED, stream=True))  # type: ignore[call-overload]
    assert [chunk.choices[0].finish_reason for chunk in said] == [None] * 3
    with pytest.raises(openai.APIError, match="had an error"):
        list(asking.chat.completions.create(**ASKED, stream=True))  # type: ignore[call-overload]
