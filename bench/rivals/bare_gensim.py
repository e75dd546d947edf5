"""The yardstick of nlp.word2vec.train: bare gensim on a file with a sentence a line, as its users write it.

Arguments: the file; ``corpus_file`` (gensim's own threads read it) or ``sentences`` (LineSentence); gensim's settings
as JSON; a file for the vectors. Prints JSON: {"words_per_s": raw words from the end of the first epoch to the end of
the last one, "whole_words_per_s": words times epochs over all of vocabulary, training and writing of vectors}.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from gensim.models.callbacks import CallbackAny2Vec
from gensim.models.word2vec import LineSentence, Word2Vec


class Clock(CallbackAny2Vec):  # type: ignore[misc]
    """When each epoch ended."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def on_epoch_end(self, model: Any) -> None:
        self.moments.append(time.perf_counter())


def main(corpus: str, source: str, settings: dict[str, Any], out: str) -> dict[str, float]:
    clock = Clock()
    start = time.perf_counter()
    given = {"corpus_file": corpus} if source == "corpus_file" else {"sentences": LineSentence(corpus)}
    model = Word2Vec(**given, **settings, callbacks=[clock])
    model.wv.save_word2vec_format(out, binary=True)
    took = time.perf_counter() - start
    between, words = clock.moments[-1] - clock.moments[0], model.corpus_total_words
    return {
        "words_per_s": words * (len(clock.moments) - 1) / between,
        "whole_words_per_s": words * len(clock.moments) / took,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4])))
