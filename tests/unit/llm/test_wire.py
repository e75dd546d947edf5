"""A job's input in OpenAI's words."""

from __future__ import annotations

from typing import Any

import pytest

from callboard_llm import wire
from callboard_shared.jobs.llm import ChatInput

HELLO = {"role": "user", "content": "Hello"}


def chat(**fields: Any) -> ChatInput:
    return ChatInput.model_validate({"messages": [HELLO], **fields})


def test_nothing_is_said_that_the_job_did_not_say() -> None:
    ask = wire.asked(chat())
    assert (ask.model, ask.messages, ask.options) == ("gpt-4o", [HELLO], {})


def test_the_system_text_goes_first_and_tools_and_formats_go_as_they_stand() -> None:
    schema = {"name": "city", "schema": {"type": "object"}, "strict": True}
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    ask = wire.asked(
        chat(system="Be brief.", temperature=0, stop=["x"], seed=7, tools=[tool], tool_choice="auto", max_tokens=9,
             response_format={"type": "json_schema", "json_schema": schema}),
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
    assert wire.asked(chat(model=model, max_tokens=5)).options == {name: 5}


def test_tool_calls_and_their_answers_go_as_they_stand() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    said: list[dict[str, Any]] = [
        HELLO,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": "rain", "tool_call_id": "call_1"},
    ]
    assert wire.asked(chat(messages=said)).messages == said


def test_pictures_go_as_data_urls() -> None:
    url = "data:image/png;base64,aaaa"
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": url, "detail": "high"}},
    ]
    [message] = wire.asked(chat(messages=[{"role": "user", "content": parts}])).messages
    assert message["content"] == parts


@pytest.mark.parametrize("source", [{"url": "https://example.com/a.png"}, {"file_id": "file_a"}])
def test_no_address_and_no_file_is_ever_passed_on(source: dict[str, str]) -> None:
    value = chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": source}]}])
    with pytest.raises(AssertionError, match="not brought here"):
        wire.asked(value)
