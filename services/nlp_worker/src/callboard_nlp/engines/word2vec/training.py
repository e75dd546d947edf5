"""Training Word2Vec with gensim.

The corpus is cut into words once, into a scratch file with a sentence a line, and the words are counted on the way;
gensim's compiled kernels then read that file: no epoch cuts it again, its text is never whole in memory, and no Python
stands in the way of the threads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from callboard_nlp.engines.word2vec.blocks import Blocks, block_words
from callboard_nlp.engines.word2vec.epochs import Epochs, Watcher
from callboard_nlp.engines.word2vec.vocabulary import Vocabulary, WordCounts
from callboard_nlp.engines.word2vec.words import Manner
from callboard_shared.errors import FinalError

_MODEL_BYTES = 600_000_000
"""For the words of a model while it is trained: with what the process takes otherwise, less than 1 GB (measured)."""
_WORD_BYTES = 400
"""Of a word besides its two vectors: spelling, counts, gensim's dictionary and the kernels' own."""
_TREE_BYTES = 1_000
"""Of a word in the tree of hierarchical softmax."""
_LOOK_UP_S = 0.2
_TELL_S = 2.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """As the job's input says; ``tokenizer``: how the corpus was cut, for who asks the model; ``threads``: 1 makes the
    result the same each time."""

    tokenizer: Manner
    vector_size: int
    window: int
    min_count: int
    sg: int
    negative: int
    sample: float
    learning_rate: float
    epochs: int
    seed: int | None
    threads: int

    @property
    def most_words(self) -> int:
        """Words of a model that is trained within 1 GB of memory."""
        tree = 0 if self.negative else _TREE_BYTES
        return max(1, _MODEL_BYTES // (2 * 4 * self.vector_size + _WORD_BYTES + tree))


@dataclass(frozen=True, slots=True)
class Trained:
    """``losses``: the mean loss of a trained word, by epoch; None where thinning left no word to train on.
    ``left_out``: words that occur ``min_count`` times and found no room."""

    vocabulary_size: int
    left_out: int
    tokens: int
    sentences: int
    losses: list[float | None]

    @property
    def loss(self) -> float | None:
        """Of the last epoch that trained on any word."""
        return next((loss for loss in reversed(self.losses) if loss is not None), None)


def train(
    corpus: Iterable[list[str]], recipe: Recipe, folder: Path, watcher: Watcher | None = None
) -> Trained:
    """Train, and write the model into ``folder``: vectors.bin (the format of word2vec) and config.json.

    The corpus is kept on the disk of ``folder`` meanwhile, nameless, so that it goes with a process that is killed.
    Raises FinalError: ``empty-corpus``, or ``no-vocabulary`` when no word occurs often enough, or only one and
    hierarchical softmax is asked for; and whatever ``watcher`` raises.
    """
    watcher = watcher or Watcher()
    most_words = block_words(recipe.vector_size, recipe.window, recipe.sg, recipe.negative)
    with Blocks(folder, most_words) as blocks:
        with WordCounts(folder) as counts:
            _read(corpus, blocks, counts, watcher)
            vocabulary = counts.vocabulary(recipe.min_count, recipe.most_words, watcher.check)
        _judge(vocabulary, recipe, watcher)
        left_out = vocabulary.left_out
        model = _model(recipe, vocabulary)
        del vocabulary  # gensim has its own
        watcher.check()
        losses = Epochs(model, blocks, recipe.threads).run(watcher)
    model.wv.save_word2vec_format(str(folder / "vectors.bin"), binary=True)
    trained = Trained(len(model.wv), left_out, blocks.tokens, blocks.sentences, losses)
    about = {"kind": "word2vec", **asdict(trained), **asdict(recipe)}
    (folder / "config.json").write_text(json.dumps(about))
    return trained


def _model(recipe: Recipe, vocabulary: Vocabulary) -> Any:
    from gensim.models.word2vec import Word2Vec

    model = Word2Vec(
        vector_size=recipe.vector_size, window=recipe.window, min_count=1, sg=recipe.sg, negative=recipe.negative,
        hs=int(recipe.negative == 0), sample=recipe.sample, alpha=recipe.learning_rate,
        seed=1 if recipe.seed is None else recipe.seed, epochs=recipe.epochs,
    )  # fmt: skip
    model.build_vocab_from_freq(vocabulary.counts)
    return model


def _read(corpus: Iterable[list[str]], blocks: Blocks, counts: WordCounts, watcher: Watcher) -> None:
    """Write and count the words. Raises FinalError ``empty-corpus``."""
    looked_up = told = time.monotonic()
    for words in corpus:
        if words:
            blocks.add(words)
            counts.add(words)
        now = time.monotonic()
        if now - looked_up >= _LOOK_UP_S:
            looked_up = now
            watcher.check()
        if now - told >= _TELL_S:
            told = now
            watcher.read(blocks.tokens)
    watcher.check()
    blocks.end()
    if blocks.tokens == 0:
        raise FinalError(
            "The corpus is empty: there is no word in it. Give texts, token lists, or a file with a sentence a line.",
            code="empty-corpus",
        )


def _judge(vocabulary: Vocabulary, recipe: Recipe, watcher: Watcher) -> None:
    """Raises FinalError ``no-vocabulary``, or warns."""
    if len(vocabulary.counts) == 1 and recipe.negative == 0:
        raise FinalError(
            f"Only one word occurs {recipe.min_count} times ({next(iter(vocabulary.counts))}), and hierarchical "
            "softmax (negative 0) needs two. Lower min_count, give more text, or a negative of 1 or more.",
            code="no-vocabulary",
        )
    if vocabulary.left_out:
        watcher.warn(
            f"{vocabulary.left_out:,} words that occur {recipe.min_count} times or more were left out: with a "
            f"vector_size of {recipe.vector_size} a model has room for the {recipe.most_words:,} most frequent ones. "
            f"The rarest of those occurs {vocabulary.rarest:,} times; a smaller vector_size makes more room."
        )
