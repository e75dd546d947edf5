"""A trained Word2Vec model, to be asked."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from callboard_nlp.engines.interface import Floats
from callboard_nlp.engines.words import Tokenize, tokenizer
from callboard_shared.errors import FinalError

_LOOKED_AT = 50_000
"""Words, the most frequent ones, among which a misspelt one is looked for."""


class WordVectors:
    """``keyed``: gensim's ``KeyedVectors``; ``cut``: how the model's texts were cut into words."""

    engine = "gensim"

    def __init__(self, keyed: Any, cut: Tokenize) -> None:
        self._keyed, self._cut = keyed, cut

    def vectors(self, words: Sequence[str]) -> dict[str, Floats]:
        """By word, shape (dimensions,). Raises FinalError ``unknown-word``, as all that name words do."""
        self._require(words)
        return {word: self._keyed[word] for word in words}

    def similarity(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The cosine of each pair."""
        self._require([word for pair in pairs for word in pair])
        return [float(np.clip(self._keyed.similarity(a, b), -1, 1)) for a, b in pairs]

    def most_similar(
        self, positive: Sequence[str], negative: Sequence[str], topn: int
    ) -> list[tuple[str, float]]:
        """The nearest words to the sum of some less others, best first, these themselves left out."""
        self._require([*positive, *negative])
        found = self._keyed.most_similar(positive=list(positive), negative=list(negative), topn=topn)
        return [(word, float(score)) for word, score in found]

    def doesnt_match(self, words: Sequence[str]) -> str:
        """The word furthest from the mean of all."""
        self._require(words)
        return str(self._keyed.doesnt_match(list(words)))

    def text_vectors(self, texts: Sequence[str]) -> tuple[Floats, int, list[str]]:
        """The mean of the known words' vectors of each text, shape (texts, dimensions); how many words were known;
        the unknown ones. Raises FinalError ``unknown-word`` for a text of which no word is known."""
        rows, known, unknown = [], 0, dict[str, None]()
        for text in texts:
            words = self._cut(text)
            here = [word for word in words if word in self._keyed]
            if not here:
                raise FinalError(
                    f"The model knows no word of {text[:100]!r}. Use a model that was trained on such texts.",
                    code="unknown-word",
                )
            known += len(here)
            unknown.update(dict.fromkeys(word for word in words if word not in self._keyed))
            rows.append(np.mean([self._keyed[word] for word in here], axis=0))
        return np.array(rows, np.float32), known, list(unknown)

    def _require(self, words: Sequence[str]) -> None:
        unknown = list(dict.fromkeys(word for word in words if word not in self._keyed))
        if not unknown:
            return
        known = self._keyed.index_to_key[:_LOOKED_AT]
        close = {word: difflib.get_close_matches(word, known, n=2) for word in unknown[:10]}
        hints = "; ".join(
            f"{word}: did you mean {' or '.join(like)}?" for word, like in close.items() if like
        )
        names = ", ".join(repr(word) for word in unknown[:50])
        raise FinalError(
            f"The model does not know {names}. {hints}".strip(),
            code="unknown-word",
            errors=[
                {"field": "input", "message": "unknown word", "code": "unknown-word", "word": one}
                for one in unknown[:50]
            ],
        )


def open_word_vectors(folder: Path) -> WordVectors:
    from gensim.models import KeyedVectors

    config = json.loads((folder / "config.json").read_bytes())
    keyed = KeyedVectors.load_word2vec_format(str(folder / "vectors.bin"), binary=True)
    return WordVectors(keyed, tokenizer(config.get("tokenizer") or "words"))
