"""Which texts the local voice does not speak."""

from __future__ import annotations

import pytest

from callboard_llm.scripts import foreign_script


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("안녕하세요", "Hangul"), ("Hello, 네", "Hangul"), ("ㅋㅋ", "Hangul"), ("東京", "Chinese"), ("こんにちは", "Hiragana"),
        ("Привет", "Cyrillic"), ("مرحبا", "Arabic"), ("λόγος", "Greek"), ("नमस्ते", "Devanagari"),
    ],
)  # fmt: skip
def test_letters_of_another_script_are_named(text: str, script: str) -> None:
    assert foreign_script(text) == script


@pytest.mark.parametrize(
    "text",
    [
        "Hello.",
        "A café, naïve: Æther!",
        "the angle α and 3 Ω",
        "ＦＵＬＬ width",
        "5 µm",
        "½ 😀 — “so”",
        "№ 1ª",
    ],
)
def test_what_english_is_written_with_is_spoken(text: str) -> None:
    assert foreign_script(text) is None
