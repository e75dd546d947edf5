from __future__ import annotations

import re
from pathlib import Path

import pytest

import callboard_gateway
from callboard_gateway.pages.language import LANGUAGES, dictionary, preferred, translator
from callboard_shared.states import JobStatus

TEMPLATES = Path(callboard_gateway.__file__).parent / "templates"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_everything(language: str) -> None:
    assert dictionary(language).keys() == dictionary("en").keys()
    for key, text in dictionary(language).items():
        assert text.strip(), key
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", dictionary("en")[key])), key


def test_every_text_a_template_asks_for_is_there() -> None:
    asked = {
        key
        for path in TEMPLATES.rglob("*.html")
        for key in re.findall(r"\bt\('(\w+)'[,)]", path.read_text("utf-8"))
    }
    assert asked
    assert asked <= dictionary("en").keys()


def test_every_status_has_a_word() -> None:
    assert {f"st_{status.value}" for status in JobStatus} <= dictionary("ko").keys()


def test_values_are_put_into_the_text() -> None:
    assert translator("ko")("attempt_of", n=1, most=3) == "3회 중 1회"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "en"),
        ("ko", "ko"),
        ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "ko"),
        ("en;q=0.5, ko;q=0.9", "ko"),
        ("fr-FR, de;q=0.9", "en"),
        ("fr, ko;q=0.1", "ko"),
        ("ko;q=x, en", "en"),
        (",;q=,,", "en"),
    ],
)
def test_the_best_language_we_speak_is_taken(header: str, expected: str) -> None:
    assert preferred(header) == expected
