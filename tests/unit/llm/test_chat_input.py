"""What llm.chat takes, and what it refuses before anything is done."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

from callboard_shared.errors import Invalid
from callboard_shared.jobs import CHAT
from callboard_shared.jobs.llm import MAX_CONVERSATION_CHARS, MAX_MESSAGE_CHARS
from callboard_shared.submission import Reader

HELLO = [{"role": "user", "content": "Hello"}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
TALK = "conv_01kaq3v5ef7v8m2c4r6t8w0y2z"
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def part(**source: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": source}]}]


def fault(value: dict[str, Any]) -> dict[str, str] | None:
    """The first thing wrong with an input, as a client is told; None if nothing is."""
    try:
        Reader().read({"type": "llm.chat", "input": value}, "key_a")
    except Invalid as refused:
        found: dict[str, str] = (refused.errors or [])[0]
        return found
    return None


@pytest.mark.parametrize(
    "value",
    [
        {"messages": HELLO},
        {"messages": [{"role": "user", "content": "🎉"}]},
        {"messages": [{"role": "system", "content": "Be brief."}, *HELLO], "system": "In Korean."},
        {"messages": [{"role": "user", "content": "a line\n\tand another\r\n"}]},
        {"messages": part(url="https://example.com/a.png?b=c", detail="low")},
        {"messages": part(url=PICTURE)},
        {"messages": part(file_id="file_a")},
        {"messages": part(base64="iVBORw0KGgo=")},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
        {"messages": [*HELLO, {"role": "assistant", "tool_calls": [CALL]},
                      {"role": "tool", "tool_call_id": "call_1", "content": ""}], "tools": [TOOL]},
        {"messages": HELLO, "tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"messages": HELLO, "tools": [TOOL], "tool_choice": "required"},
        {"messages": HELLO, "stop": "x", "seed": 1, "temperature": 0, "top_p": 1, "max_tokens": 1},
        {"messages": HELLO, "stop": ["x", "y"], "provider": "local"},
        {"messages": HELLO, "response_format": {"type": "json_object"}},
        {"messages": HELLO, "response_format": {"type": "json_schema",
                                                "json_schema": {"name": "city", "schema": {"type": "object"}}}},
        {"messages": [{"role": "user", "content": "a" * MAX_MESSAGE_CHARS}]},
        {"conversation_id": TALK, "message": "Hello"},
        {"conversation_id": TALK, "message": {"role": "user", "content": "Hello"}, "system": "Be brief."},
        {"conversation_id": TALK, "message": part(file_id="file_a")[0]["content"], "model": "gpt-4.1"},
    ],
)  # fmt: skip
def test_a_chat_is_taken(value: dict[str, Any]) -> None:
    assert fault(value) is None
    assert jsonschema_rs.Draft202012Validator(CHAT.describe()["input_schema"]).is_valid(value)


@pytest.mark.parametrize(
    ("value", "field", "says"),
    [
        ({}, "input", "give either 'messages', or 'conversation_id' and 'message'"),
        ({"conversation_id": TALK}, "input", "give either"),
        ({"message": "Hello"}, "input", "give either"),
        ({"messages": HELLO, "message": "Hello"}, "input", "give either"),
        ({"conversation_id": TALK, "message": "Hello", "messages": HELLO}, "input", "give either"),
        ({"conversation_id": "conv_1", "message": "Hello"}, "input.conversation_id", "match pattern"),
        ({"conversation_id": TALK, "message": " "}, "input.message", "is empty"),
        ({"conversation_id": TALK, "message": {"role": "assistant", "content": "x"}}, "input.message", "must be user"),
        ({"conversation_id": TALK, "message": "x", "tools": [TOOL]}, "input", "'tools' go with 'messages'"),
        ({"messages": []}, "input.messages", "at least 1"),
        ({"messages": "hello"}, "input.messages", "valid array"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "input.messages.0.role", "'user'"),
        ({"messages": [{"role": "user"}]}, "input.messages.0", "'content' is empty"),
        ({"messages": [{"role": "user", "content": ""}]}, "input.messages.0", "'content' is empty"),
        ({"messages": [{"role": "user", "content": " \n "}]}, "input.messages.0", "'content' is empty"),
        ({"messages": [{"role": "assistant", "content": None}]}, "input.messages.0", "'content' is empty"),
        ({"messages": [{"role": "user", "content": []}]}, "input.messages.0.content", "at least 1"),
        ({"messages": [{"role": "user", "content": 3}]}, "input.messages.0.content", "valid string"),
        ({"messages": [*HELLO, {"role": "user", "content": "a\u0000b"}]}, "input.messages.1.content", "U+0000 at 1"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "\u001b[2J"}]}]},
         "input.messages.0.content.0.text", "U+001B at 0"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "input.messages.0.content.0", "image_url"),
        ({"messages": [{"role": "user", "content": "a" * (MAX_MESSAGE_CHARS + 1)}]}, "input.messages.0.content",
         "at most"),
        ({"messages": [{"role": "user", "content": "a" * MAX_MESSAGE_CHARS}] * 4 + HELLO}, "input",
         f"{MAX_CONVERSATION_CHARS:,} are allowed"),
        ({"messages": part(url="http://example.com/a.png")}, "input.messages.0.content.0.image_url.url", "https://"),
        ({"messages": part(url="https://user:pass@example.com/")}, "input.messages.0.content.0.image_url.url",
         "user name"),
        ({"messages": part(url="https://169.254.169.254/")}, "input.messages.0.content.0.image_url.url", "not public"),
        ({"messages": part(url="file:///etc/passwd")}, "input.messages.0.content.0.image_url.url", "https://"),
        ({"messages": part(url="data:text/html;base64,aaaa")}, "input.messages.0.content.0.image_url", "data URL"),
        ({"messages": part(url=PICTURE, file_id="file_a")}, "input.messages.0.content.0.image_url", "give one of"),
        ({"messages": [{"role": "assistant", "content": part(url=PICTURE)[0]["content"]}]}, "input.messages.0",
         "pictures belong"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "input.messages.0", "tool_call_id"),
        ({"messages": [{"role": "user", "content": "x", "tool_call_id": "c"}]}, "input.messages.0", "tool_call_id"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [CALL]}]}, "input.messages.0", "assistant"),
        ({"messages": HELLO, "system": "  "}, "input.system", "is empty"),
        ({"messages": HELLO, "temperature": 2.1}, "input.temperature", "less than"),
        ({"messages": HELLO, "max_tokens": 0}, "input.max_tokens", "greater than"),
        ({"messages": HELLO, "stop": ["a"] * 5}, "input.stop", "at most 4"),
        ({"messages": HELLO, "tool_choice": "auto"}, "input", "needs 'tools'"),
        ({"messages": HELLO, "response_format": {"type": "json_schema"}}, "input.response_format", "json_schema"),
        ({"messages": HELLO, "response_format": {"type": "yaml"}}, "input.response_format.type", "json_object"),
        ({"messages": HELLO, "provider": "someone"}, "input.provider", "'openai' or 'local'"),
        ({"messages": HELLO, "conversation": "conv_1"}, "input.conversation", "not permitted"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_where_it_stands(value: dict[str, Any], field: str, says: str) -> None:
    found = fault(value)
    assert found is not None and found["field"] == field and says in found["message"], found


def test_the_files_that_a_chat_names_are_looked_up() -> None:
    messages = [*HELLO, *part(file_id="file_a"), *part(url=PICTURE), *part(file_id="file_b")]
    value = CHAT.input.model_validate_json(json.dumps({"messages": messages}))
    assert CHAT.files_of(value) == {
        "messages.1.content.0.image_url.file_id": "file_a",
        "messages.3.content.0.image_url.file_id": "file_b",
    }
    assert CHAT.urls_of(value) == {}, "a data URL leads nowhere"
    value = CHAT.input.model_validate_json(json.dumps({"messages": part(url="https://example.com/a.png")}))
    assert CHAT.urls_of(value) == {"messages.0.content.0.image_url.url": "https://example.com/a.png"}


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("  Where is\n the   station? ", "Where is the station?"),
        ("word " * 30, "word word word word word word word word word word word word…"),
        ("가" * 100, "가" * 60 + "…"),
        ("a " + "b" * 100, "a " + "b" * 58 + "…"),
        ([{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": PICTURE}}], "Look:"),
        ([{"type": "image_url", "image_url": {"url": PICTURE}}], ""),
    ],
)
def test_a_message_says_in_its_conversation_what_it_holds_and_gives_it_a_title(
    content: Any, title: str
) -> None:
    job = Reader().read({"type": "llm.chat", "input": {"conversation_id": TALK, "message": content}}, "key_a")
    assert job.says is not None
    assert (job.says.conversation, job.says.title) == (TALK, title)
    kept = json.loads(job.says.body)["content"]
    assert (
        kept == content
        if isinstance(content, str)
        else [one["type"] for one in kept] == [one["type"] for one in content]
    )


def test_a_chat_that_brings_its_messages_along_says_nothing_in_a_conversation() -> None:
    assert Reader().read({"type": "llm.chat", "input": {"messages": HELLO}}, "key_a").says is None
