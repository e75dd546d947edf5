"""Corpora of Word2Vec: token lists, texts, and files of any size that are read as a stream.

Each is an iterator of sentences of at most ``LONGEST`` words; what is longer goes on as the next sentence. A sentence
may be empty: it gives who reads a chance to look up.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from callboard_nlp.engines.word2vec.words import Manner, spelled, tokenizer
from callboard_shared.errors import FinalError

Sentences = Iterator[list[str]]

LONGEST = 10_000
"""Words; gensim's kernels take no longer sentence."""
_PIECE = 1 << 16
"""Bytes of a line that are read at a time."""
_LONGEST_WORD = 1 << 20
"""Characters without a space that are waited for; beyond, they are cut anyhow."""
_BINARY = (b"\x80\x04", b"\x80\x05", b"\x1f\x8b", b"PK\x03\x04", b"\x89PNG", b"%PDF", b"PAR1")


def from_lists(sentences: Iterable[list[str]]) -> Sentences:
    """Token lists as they are, but for what ``spelled`` says."""
    for sentence in sentences:
        yield from _parted([spelled(word) for word in sentence])


def from_texts(texts: Iterable[str], manner: Manner) -> Sentences:
    """A text, a sentence. Raises FinalError ``tokenizer-not-installed``."""
    cut = tokenizer(manner)
    return (sentence for text in texts for sentence in _parted(cut(text)))


def from_file(content: BinaryIO, manner: Manner) -> Sentences:
    """A line, a sentence. Raises FinalError ``not-utf8`` or ``unsupported-format``, naming the line, and
    ``tokenizer-not-installed``."""
    cut = tokenizer(manner)
    words: list[str] = []
    for text, line_ends in _pieces(content):
        words += cut(text)
        while len(words) > LONGEST:
            yield words[:LONGEST]
            del words[:LONGEST]
        yield words if line_ends else []
        if line_ends:
            words = []


def _parted(words: list[str]) -> Sentences:
    if len(words) <= LONGEST:
        yield words
        return
    for start in range(0, len(words), LONGEST):
        yield words[start : start + LONGEST]


def _pieces(content: BinaryIO) -> Iterator[tuple[str, bool]]:
    """Lines, the long ones in pieces that are cut between words; with whether the line ends there."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    number, rest, start = 1, "", True
    while block := content.readline(_PIECE):
        if b"\0" in block or (start and block.startswith(_BINARY)):
            raise _no_text(number)
        ends = block.endswith(b"\n")
        text = _decoded(decoder, block, ends, number)
        text, start = rest + (text.removeprefix("\ufeff") if start else text), False
        text, rest = (text, "") if ends else _between_words(text)
        yield text, ends
        number += ends
    rest += _decoded(decoder, b"", True, number)
    yield rest, True


def _decoded(decoder: codecs.IncrementalDecoder, block: bytes, final: bool, line: int) -> str:
    try:
        return decoder.decode(block, final)
    except UnicodeDecodeError:
        raise FinalError(
            f"Line {line} is not UTF-8. Convert the file first, for example with: "
            "iconv -f CP949 -t UTF-8 old.txt > new.txt",
            code="not-utf8",
        ) from None


def _no_text(line: int) -> FinalError:
    return FinalError(
        f"The file is no text: line {line} is binary. Give UTF-8 text with a sentence a line, not packed, pickled or "
        "UTF-16.",
        code="unsupported-format",
    )


def _between_words(text: str) -> tuple[str, str]:
    """What can be cut into words already, and the word that may go on in the next piece."""
    if not text or text[-1].isspace():
        return text, ""
    whole, *last = text.rsplit(None, 1)
    if last:
        return whole, last[0]
    return ("", text) if len(text) < _LONGEST_WORD else (text, "")
