"""From texts to words, in the three ways that a Word2Vec model may have been made with.

``words``       runs of Unicode letters, digits and marks, with apostrophes inside them, in lower case: "Don't" is
                one word, "한국의" too, punctuation none
``whitespace``  what stands between spaces, as it is
``korean``      morphemes by kiwipiepy, an optional extra: particles and endings are words of their own
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from callboard_shared.errors import FinalError
from callboard_shared.jobs.nlp.word2vec import Tokenizer

Tokenize = Callable[[str], list[str]]

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def tokenizer(name: Tokenizer) -> Tokenize:
    """Raises FinalError ``tokenizer-not-installed``."""
    if name == "words":
        return lambda text: _WORD.findall(text.lower())
    if name == "whitespace":
        return str.split
    return _korean()


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
    return lambda text: [token.form for token in kiwi.tokenize(text)]
