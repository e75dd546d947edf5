"""A text cut into pieces at its sentences, English and Korean ones."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_CLOSING = "\"'”’»)\\]」』）"
_SENTENCE = re.compile(rf"[.!?…]+[{_CLOSING}]*(?=\s|$)|[。！？]+[{_CLOSING}]*|\n+")
_CLAUSE = re.compile(rf"[,;:—–，、；：][{_CLOSING}]*(?=\s|$)|[，、；：]")
_SPACE = re.compile(r"\s+")
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|Rev|Gen|Sen|St|Mt|Jr|Sr|vs|cf|approx|No|Nos|Fig|Inc|Ltd|Co|Corp|Dept|e\.g|i\.e"
    r"|a\.m|p\.m|U\.S|U\.K)|\b[A-Z]|^\s*\d{1,3})\.$"
)
"""Also an initial, and the number of an item in a list."""
_LOOK_BACK = 12

SENTENCE_S, PARAGRAPH_S, CLAUSE_S, WORD_S = 0.35, 0.7, 0.15, 0.03
"""Seconds of silence after a piece, by where it was cut."""


@dataclass(frozen=True, slots=True)
class Piece:
    """``pause_s``: the silence between this piece and the next."""

    text: str
    pause_s: float = SENTENCE_S


def cut(text: str, limit: int) -> list[Piece]:
    """Pieces of at most ``limit`` characters that together say the text: cut after a sentence if that is possible,
    else after a clause, a word, and last between characters. Pieces without a letter or digit are left out."""
    pieces: list[Piece] = []
    rest = text.strip()
    while len(rest) > limit:
        at, pause_s = _place(rest, limit)
        pieces.append(Piece(rest[:at].strip(), pause_s))
        rest = rest[at:].lstrip()
    pieces.append(Piece(rest))
    return [piece for piece in pieces if any(character.isalnum() for character in piece.text)]


def _place(text: str, limit: int) -> tuple[int, float]:
    """Where to cut, and the pause that is due there: after the last sentence within the limit, if one ends there."""
    head = text[: limit + 1]
    ends = [at for at in _sentence_ends(head) if at <= limit]
    if ends:
        after = text[ends[-1] :]
        paragraph = "\n\n" in after[: len(after) - len(after.lstrip())] or text[: ends[-1]].endswith("\n\n")
        return ends[-1], PARAGRAPH_S if paragraph else SENTENCE_S
    for pattern, pause_s in ((_CLAUSE, CLAUSE_S), (_SPACE, WORD_S)):
        places = [found.end() for found in pattern.finditer(head) if found.end() <= limit]
        if places:
            return places[-1], pause_s
    return _between_characters(text, limit), 0.0


def _sentence_ends(text: str) -> Iterator[int]:
    for found in _SENTENCE.finditer(text):
        if found[0].startswith("\n"):
            yield found.end()
            continue
        before = text[max(0, found.end() - _LOOK_BACK) : found.end()].rpartition("\n")[2]
        after = text[found.end() :].lstrip()
        if found[0] == "." and (_ABBREVIATION.search(before) or after[:1].islower()):
            continue
        yield found.end()


def _between_characters(text: str, limit: int) -> int:
    """Not before something that belongs to the character in front of it: an accent, a joined emoji."""
    at = limit
    while at > 1 and (
        unicodedata.combining(text[at]) or unicodedata.category(text[at]) in ("Mn", "Mc", "Me", "Cf")
    ):
        at -= 1
    return at
