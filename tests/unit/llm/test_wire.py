"""A job's input in OpenAI's words."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from callboard_llm import wire
from callboard_shared.errors import FinalError
from callboard_shared.jobs.base import FileInput
from callboard_shared.jobs.llm import ChatInput

HELLO = {"role": "user", "content": "Hello"}
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(16)


def chat(**fields: Any) -> ChatInput:
    return ChatInput.model_validate({"messages": [HELLO], **fields})


def no_file(given: FileInput) -> bytes:
    raise AssertionError("no file is named")


def test_nothing_is_said_that_the_job_did_not_say() -> None:
    ask = wire.asked(chat(), no_file)
    assert (ask.model, ask.messages, ask.options) == ("gpt-4o", [HELLO], {})


def test_the_system_text_goes_first_and_tools_and_formats_go_as_they_stand() -> None:
    schema = {"name": "city", "schema": {"type": "object"}, "strict": True}
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    ask = wire.asked(
        chat(system="Be brief.", temperature=0, stop=["x"], seed=7, tools=[tool], tool_choice="auto", max_tokens=9,
             response_format={"type": "json_schema", "json_schema": schema}),
        no_file,
    )  # fmt: skip
    assert ask.messages == [{"role": "system", "content": "Be brief."}, HELLO]
    assert ask.options == {
        "temperature": 0, "stop": ["x"], "seed": 7, "tools": [tool], "tool_choice": "auto", "max_tokens": 9,
        "response_format": {"type": "json_schema", "json_schema": schema},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "name"),
    [("gpt-4o", "max_tokens"), ("llama-3", "max_tokens"), ("o3-mini", "max_completion_tokens"),
     ("gpt-5-nano", "max_completion_tokens"), ("gpt-oss-20b", "max_tokens")],
)  # fmt: skip
def test_models_that_know_only_the_new_name_of_max_tokens_get_that(model: str, name: str) -> None:
    assert wire.asked(chat(model=model, max_tokens=5), no_file).options == {name: 5}


def test_tool_calls_and_their_answers_go_as_they_stand() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    said: list[dict[str, Any]] = [
        HELLO,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": "rain", "tool_call_id": "call_1"},
    ]
    assert wire.asked(chat(messages=said), no_file).messages == said


def test_pictures_go_as_addresses_or_with_their_bytes() -> None:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": {"base64": "aaaa", "detail": "high"}},
    ]
    value = chat(messages=[{"role": "user", "content": parts}])
    assert wire.has_files(value) and not wire.has_files(chat())
    [message] = wire.asked(value, lambda given: PNG).messages
    assert message["content"] == [
        parts[0],
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "auto"}},
        {"type": "image_url",
         "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}", "detail": "high"}},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"<svg></svg>", "image/svg"), (b"", "octet-stream"), (PNG + bytes(21 << 20), "smaller")],
)
def test_a_file_that_models_do_not_see_is_refused(content: bytes, says: str) -> None:
    value = chat(
        messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"file_id": "f"}}]}]
    )
    with pytest.raises(FinalError, match=says) as refused:
        wire.asked(value, lambda given: content)
    assert refused.value.problem_code == "provider-invalid"
