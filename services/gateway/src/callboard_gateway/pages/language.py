"""The console's languages: one small dictionary a language, in ``lang/``; what lacks is said in English."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from fastapi import Request

COOKIE = "callboard_lang"
LANGUAGES = {"en": "English", "ko": "한국어"}
_FOLDER = Path(__file__).parent / "lang"

Translate = Callable[..., str]


@cache
def dictionary(language: str) -> dict[str, str]:
    texts: dict[str, str] = json.loads((_FOLDER / f"{language}.json").read_text("utf-8"))
    return texts


def translator(language: str) -> Translate:
    """``t(key, **values)``: the text of ``key`` with its ``{values}`` put in."""
    texts, english = dictionary(language), dictionary("en")

    def translate(key: str, **values: object) -> str:
        text = texts.get(key) or english[key]
        return text.format(**values) if values else text

    return translate


def language_of(request: Request) -> str:
    """What the reader chose; else the first of ``Accept-Language`` that we speak; else English."""
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return chosen
    return preferred(request.headers.get("accept-language", ""))


def preferred(header: str) -> str:
    """The best of an ``Accept-Language`` header (RFC 9110, 12.5.4)."""
    ranked: list[tuple[float, str]] = []
    for item in header.split(",")[:20]:
        tag, _, quality = item.strip().partition(";q=")
        try:
            ranked.append((-float(quality or 1), tag.strip().lower().split("-")[0]))
        except ValueError:
            continue
    for _, tag in sorted(ranked, key=lambda entry: entry[0]):
        if tag in LANGUAGES:
            return tag
    return "en"
