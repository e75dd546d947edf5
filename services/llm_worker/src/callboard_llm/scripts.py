"""Which script a text is written in, for models that were made for English."""

from __future__ import annotations

import unicodedata


def foreign_script(text: str) -> str | None:
    """The first script in the text that English is not written with, such as ``Hangul``; None if there is none.
    A single Greek letter (an angle α, 5 µm) is a symbol that English has a name for."""
    before = ""
    for letter in unicodedata.normalize("NFKC", text):
        script = "LATIN" if letter.isascii() else ""
        if not letter.isascii() and letter.isalpha():
            script = unicodedata.name(letter, "unknown").split()[0]
        if script not in ("", "LATIN", "GREEK") or (script == before == "GREEK"):
            return "Chinese" if script == "CJK" else script.title()
        before = script
    return None
