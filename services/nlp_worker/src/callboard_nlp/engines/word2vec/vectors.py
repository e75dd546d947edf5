"""A trained Word2Vec model, to be asked."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from callboard_nlp.engines.interface import Floats
from callboard_nlp.engines.word2vec.words import Manner, Tokenize, spellings, tokenizer, unicode_words
from callboard_shared.errors import FinalError

_LOOKED_AT = 50_000
"""Words, the most frequent ones, among which a misspelt one is looked for."""
_HINTED, _SAID, _LISTED = 5, 50, 1000
"""Unknown words for which a known one is looked for, that the sentence names, and that ``errors`` names."""


class WordVectors:
    """``keyed``: gensim's ``KeyedVectors``; ``manner``: how the model's texts were cut into words.

    A word is asked for as it stood in the texts: it is spelled as they were when the model was trained.
    """

    engine = "gensim"

    def __init__(self, keyed: Any, manner: Manner) -> None:
        self._keyed, self._manner = keyed, manner

    @cached_property
    def _cut(self) -> Tokenize:
        return tokenizer(
            self._manner
        )  # when a text is to be cut: the analyser of morphemes takes seconds to load

    def vectors(self, words: Sequence[str]) -> dict[str, Floats]:
        """By word, shape (dimensions,). Raises FinalError ``unknown-word``, as all that name words do."""
        return dict(zip(words, map(self._keyed.get_vector, self._keys(words)), strict=True))

    def similarity(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The cosine of each pair."""
        keys = iter(self._keys([word for pair in pairs for word in pair]))
        return [float(np.clip(self._keyed.similarity(a, b), -1, 1)) for a, b in zip(keys, keys, strict=True)]

    def most_similar(
        self, positive: Sequence[str], negative: Sequence[str], topn: int
    ) -> list[tuple[str, float]]:
        """The nearest words to the sum of some less others, best first, these themselves left out."""
        keys = self._keys([*positive, *negative])
        plus, minus = keys[: len(positive)], keys[len(positive) :]
        found = self._keyed.most_similar(positive=plus, negative=minus, topn=topn)
        return [(word, float(np.clip(score, -1, 1))) for word, score in found]

    def doesnt_match(self, words: Sequence[str]) -> str:
        """The word furthest from the mean of all."""
        asked = dict(zip(self._keys(words), words, strict=True))
        return asked[self._keyed.doesnt_match(list(asked))]

    def text_vectors(self, texts: Sequence[str]) -> tuple[Floats, int, list[str]]:
        """The mean of the known words' vectors of each text, shape (texts, dimensions); how many words were known;
        the unknown ones. Raises FinalError ``unknown-word`` for a text of which no word is known."""
        rows, known, unknown = [], 0, dict[str, None]()
        for text in texts:
            keys = []
            for word, key in self._words(text):
                if key is None:
                    unknown[word] = None
                else:
                    keys.append(key)
            if not keys:
                raise FinalError(
                    f"The model knows no word of {text[:100]!r}. Use a model that was trained on such texts.",
                    code="unknown-word",
                )
            known += len(keys)
            rows.append(np.mean([self._keyed[key] for key in keys], axis=0))
        return np.array(rows, np.float32), known, list(unknown)

    def _words(self, text: str) -> Iterator[tuple[str, str | None]]:
        """The words of a text, each with the model's spelling of it, None if it is unknown."""
        for word in self._cut(text):
            key = self._key(word)
            if key is None and self._manner == "lists":  # "end." is "end" unless the lists knew better
                yield from ((part, self._key(part)) for part in unicode_words(word))
            else:
                yield word, key

    def _key(self, word: str) -> str | None:
        return next((one for one in spellings(word, self._manner) if one in self._keyed), None)

    def _keys(self, words: Sequence[str]) -> list[str]:
        found = {word: self._key(word) for word in words}
        unknown = [word for word, key in found.items() if key is None]
        if unknown:
            raise self._unknown(unknown)
        return [key for word in words if (key := found[word]) is not None]

    def _unknown(self, words: list[str]) -> FinalError:
        known = self._keyed.index_to_key[:_LOOKED_AT]
        close = {
            word: difflib.get_close_matches(spellings(word, self._manner)[-1], known, n=2)
            for word in words[:_HINTED]
        }
        hints = "; ".join(
            f"{word}: did you mean {' or '.join(like)}?" for word, like in close.items() if like
        )
        names = ", ".join(map(repr, words[:_SAID]))
        if len(words) > _SAID:
            names += f" and {len(words) - _SAID:,} more"
        if len(words) > _LISTED:
            names += f" (the first {_LISTED:,} are listed)"
        return FinalError(
            f"The model does not know {names}. {hints}".strip(),
            code="unknown-word",
            errors=[
                {"field": "input", "message": "unknown word", "code": "unknown-word", "word": word}
                for word in words[:_LISTED]
            ],
        )


def open_word_vectors(folder: Path) -> WordVectors:
    from gensim.models import KeyedVectors

    config = json.loads((folder / "config.json").read_bytes())
    keyed = KeyedVectors.load_word2vec_format(str(folder / "vectors.bin"), binary=True)
    return WordVectors(keyed, config.get("tokenizer") or "words")
