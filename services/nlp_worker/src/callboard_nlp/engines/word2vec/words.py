"""From texts to words, in the ways that a Word2Vec model may have been made with.

``words``       runs of Unicode letters, digits and their marks, with apostrophes and joiners inside them, in lower
                case: "Don't" is one word, "한국의" and "हिन्दी" too, punctuation none
``whitespace``  what stands between spaces, as it is
``korean``      morphemes by kiwipiepy, an optional extra: particles and endings are words of their own, symbols none
``lists``       the user cut the words; a text to be compared is cut at spaces, and further where that is no word

All are in Unicode's normal form C, so that decomposed Hangul and accents meet composed ones.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

from callboard_shared.errors import FinalError
from callboard_shared.jobs.nlp.word2vec import Tokenizer

Tokenize = Callable[[str], list[str]]
Manner = Tokenizer | Literal["lists"]
"""How a model's words were made: by a tokenizer, or by the user."""

_ASCII_WORD = re.compile(r"\w+(?:'\w+)*", re.ASCII)
_KEPT_SYMBOLS = ("SL", "SN", "SH")
"""Of kiwi's tags of symbols (S…): foreign words, numbers, Chinese characters."""


def tokenizer(manner: Manner) -> Tokenize:
    """Raises FinalError ``tokenizer-not-installed``."""
    if manner == "words":
        return lambda text: unicode_words(text.lower())
    if manner == "korean":
        return _korean()
    return lambda text: unicodedata.normalize("NFC", text).split()


def unicode_words(text: str) -> list[str]:
    """The runs of letters, digits and marks in a text, in normal form C and their own case."""
    if text.isascii():
        return _ASCII_WORD.findall(text)
    return _unicode_word().findall(unicodedata.normalize("NFC", text))


def spelled(word: str) -> str:
    """A word in normal form C; a space inside it becomes ``_``, since word2vec's format ends a word with a space."""
    return "_".join(unicodedata.normalize("NFC", word).split()) or "_"


def spellings(word: str, manner: Manner) -> tuple[str, ...]:
    """How a word that is asked for may be spelled in a model, the likeliest first."""
    if manner == "words":
        return (spelled(word.lower()),)
    if manner == "lists":
        return (spelled(word), spelled(word.lower()))
    return (spelled(word),)


@cache
def _unicode_word() -> re.Pattern[str]:
    # re's \w has no combining marks (Mn, Mc, Me), without which Devanagari and pointed Hebrew fall to pieces
    marks = [chr(code) for code in range(0x300, sys.maxunicode) if unicodedata.category(chr(code))[0] == "M"]
    # re looks a class up in a table only if none of it is beyond U+FFFF: nine times as fast
    low, high = ("".join(mark for mark in marks if (mark > "\uffff") is beyond) for beyond in (False, True))
    run = rf"\w+(?:(?:[{low}]|(?=[\U00010000-\U0010ffff])[{high}])+\w*)*"
    return re.compile(rf"{run}(?:['’\u200c\u200d]{run})*")


def _korean() -> Tokenize:
    try:
        from kiwipiepy import Kiwi
    except ImportError:
        raise FinalError(
            "This worker cannot cut Korean into morphemes. Install the extra (pip install 'callboard-nlp[korean]') "
            "and start it again, or choose the tokenizer 'words'.",
            code="tokenizer-not-installed",
        ) from None
    kiwi: Any = Kiwi(num_workers=1)

    def cut(text: str) -> list[str]:
        tokens = kiwi.tokenize(unicodedata.normalize("NFC", text))
        return [spelled(token.form) for token in tokens if not _is_symbol(token.tag)]

    return cut


def _is_symbol(tag: str) -> bool:
    return tag == "W_EMOJI" or (tag[0] == "S" and tag not in _KEPT_SYMBOLS)
