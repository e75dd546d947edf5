"""Long histories: cut by whole turns, by a count that is never too low where it can be exact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiktoken

from callboard_llm import tokens
from callboard_llm.history import Talk, answered, fit
from callboard_llm.windows import UNKNOWN, window_of
from callboard_shared.jobs.llm import ChatInput, Message
from callboard_shared.ledger.conversing import Turn


class Counting:
    """A provider that counts words."""

    name, usual_answer = "words", 20

    def __init__(self, window: int) -> None:
        self._window = window
        self.counted = 0

    def window(self, model: str) -> int:
        return self._window

    async def count(self, texts: Sequence[str], model: str) -> list[int]:
        self.counted += len(texts)
        return [len(text.split()) for text in texts]

    def counts_exactly(self, model: str) -> bool:
        return True

    def doubts(self, texts: Sequence[str]) -> str | None:
        return None

    def check_sees(self, model: str) -> None:
        raise NotImplementedError

    async def chat(self, ask: Any, answer: Any, listener: Any) -> None:
        raise NotImplementedError


def talk(pairs: int, words: int, **fields: Any) -> Talk:
    """``pairs`` of messages and replies with so many words each, and a new message of one word."""
    history = [
        Message(role=role, content=" ".join([f"{role}{number}"] * words))
        for number in range(pairs)
        for role in ("user", "assistant")
    ]
    value = ChatInput(conversation_id="conv_01kaq3v5ef7v8m2c4r6t8w0y2z", message="new", **fields)
    return Talk(value.model_copy(update={"messages": [*history, Message(role="user", content="new")]}))


def kept(found: Talk) -> list[str]:
    return [str(message.content).split()[0] for message in found.input.messages]


async def test_a_history_that_fits_stays_whole_and_is_not_even_counted() -> None:
    provider = Counting(10_000)
    given = talk(3, 10)
    assert await fit(given, provider) is given
    assert provider.counted == 0


async def test_the_oldest_turns_go_with_their_replies() -> None:
    # A message of 30 words is 38 tokens with what is around it, a pair 76; 4 pairs and the rest fit into 350.
    found = await fit(talk(10, 30), Counting(350))
    assert kept(found) == [*(f"{role}{n}" for n in range(6, 10) for role in ("user", "assistant")), "new"]
    assert found.trimmed is not None
    assert (found.trimmed.messages, found.trimmed.window, found.trimmed.counted) == (12, 350, "exactly")
    assert "12 oldest messages" in found.warnings[0]


async def test_no_more_is_counted_than_it_takes() -> None:
    provider = Counting(350)
    await fit(talk(500, 30), provider)
    assert provider.counted < 20


@pytest.mark.parametrize("window", [60, 256, 350, 700, 1000])
async def test_what_is_kept_fits_and_the_next_pair_would_not(window: int) -> None:
    given = talk(12, 25, system="be brief", max_tokens=30)
    found = await fit(given, Counting(window))

    def size(messages: list[Message]) -> int:
        return sum(8 + len(str(message.content).split()) for message in messages) + 8 + 2 + 30

    messages, everything = found.input.messages, given.input.messages
    assert len(messages) % 2 == 1 and messages == everything[-len(messages) :]
    assert size(messages) <= window or len(messages) == 1
    assert len(messages) == len(everything) or size(everything[-len(messages) - 2 :]) > window


async def test_the_new_message_stays_however_long_it_is() -> None:
    value = talk(2, 5).input
    new = Message(role="user", content="word " * 1000)
    found = await fit(Talk(value.model_copy(update={"messages": [*value.messages[:-1], new]})), Counting(100))
    assert found.input.messages == [new]


async def test_what_the_input_brings_along_is_never_cut() -> None:
    value = ChatInput(messages=[Message(role="user", content="word " * 1000)] * 3)
    found = await fit(Talk(value), Counting(100))
    assert found.input is value and found.trimmed is None


def turn(role: str, content: str, status: str) -> Turn:
    return Turn(role, "job_1", 0, status, f'{{"content":"{content}"}}'.encode())


def test_only_what_was_answered_is_said_again() -> None:
    turns = [
        turn("user", "a", "failed"), turn("user", "b", "answered"), turn("assistant", "B", "partial"),
        turn("user", "c", "canceled"), turn("user", "d", "answered"), turn("assistant", "", "complete"),
        turn("user", "e", "failed"),
    ]  # fmt: skip
    assert [(said.content, reply.content) for said, reply in answered(turns)] == [("b", "B"), ("d", "")]


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("gpt-4o", 128_000), ("gpt-4o-mini-2024-07-18", 128_000), ("gpt-4", 8_192), ("gpt-4-0613", 8_192),
        ("gpt-4.1-nano", 1_047_576), ("gpt-4-turbo-preview", 128_000), ("gpt-40", UNKNOWN), ("llama", UNKNOWN),
    ],
)  # fmt: skip
def test_windows_are_found_by_name(model: str, window: int) -> None:
    assert window_of(model) == window


@pytest.fixture
def no_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_a_table_that_is_not_there_is_not_fetched(no_tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(name: str) -> tiktoken.Encoding:
        raise AssertionError("it must not be opened")

    monkeypatch.setattr(tiktoken, "get_encoding", fetch)
    assert tokens.encoding_for("gpt-4o") is None and tokens.encoding_for("llama") is None


def test_a_table_that_is_there_is_opened(no_tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The name under which tiktoken itself keeps o200k_base: the sha1 of where it comes from.
    (no_tables / "fb374d419588a4632f3f557e76b4b70aebbca790").touch()
    bytes_alone = tiktoken.Encoding(
        "bytes", pat_str=r".+", mergeable_ranks={bytes([n]): n for n in range(256)}, special_tokens={}
    )
    opened = {"o200k_base": bytes_alone}
    monkeypatch.setattr(tiktoken, "get_encoding", opened.__getitem__)
    assert tokens.encoding_for("gpt-4o-mini") is bytes_alone
    assert tokens.encoding_for("gpt-4") is None


@pytest.mark.parametrize(
    "text", ["Hello, how are you today?", "안녕하세요, 반갑습니다.", "def f(x):\n    return x", "🎉🎉"]
)
def test_the_estimate_lies_between_a_token_for_three_bytes_and_one_for_each(text: str) -> None:
    size = len(text.encode())
    assert size / 3 <= tokens.estimated(text) <= size
    assert tokens.estimated("") == 0
