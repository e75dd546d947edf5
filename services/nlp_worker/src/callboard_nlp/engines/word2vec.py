"""Training Word2Vec with gensim.

The corpus is cut into words once, into a scratch file with a sentence a line, and gensim's own threads read that
file: no epoch cuts it again, its text is never whole in memory, and no Python stands in the way of the threads.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from callboard_nlp.engines.words import tokenizer
from callboard_shared.errors import FinalError
from callboard_shared.jobs.nlp.word2vec import Tokenizer

_MOST_WORDS = 4_000_000
"""Different words that are counted at a time; beyond, gensim drops the rarest. Some 400 MB."""
_LONGEST_LINE = 1_000_000
_BINARY = (b"\x80\x04", b"\x80\x05", b"\x1f\x8b", b"PK\x03\x04", b"\x89PNG", b"%PDF", b"PAR1")
_CHECK_LINES = 2_000

AfterEpoch = Callable[[int, float], None]
"""Called after each epoch with its number, from 1, and its loss; may raise to stop the training."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """As the job's input says; ``threads``: 1 makes the result the same each time."""

    tokenizer: Tokenizer
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


@dataclass(frozen=True, slots=True)
class Trained:
    vocabulary_size: int
    tokens: int
    sentences: int
    losses: list[float]


def from_lists(sentences: Iterable[list[str]]) -> Iterator[list[str]]:
    """Token lists as they are; a space inside a token becomes ``_``, since the scratch file parts words by spaces."""
    for sentence in sentences:
        yield ["_".join(word.split()) or "_" for word in sentence]


def from_texts(texts: Iterable[str], recipe: Recipe) -> Iterator[list[str]]:
    cut = tokenizer(recipe.tokenizer)
    return (cut(text) for text in texts)


def from_file(content: BinaryIO, recipe: Recipe) -> Iterator[list[str]]:
    """A sentence a line. Raises FinalError ``not-utf8`` or ``unsupported-format``, naming the line."""
    cut = tokenizer(recipe.tokenizer)
    for number, line in enumerate(iter(lambda: content.readline(_LONGEST_LINE), b""), 1):
        if number == 1 and (line.startswith(_BINARY) or b"\0" in line):
            raise FinalError(
                "The file is no text: give UTF-8 text with a sentence a line, not packed or pickled.",
                code="unsupported-format",
            )
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            if len(line) == _LONGEST_LINE and error.start > _LONGEST_LINE - 4:
                text = line.decode("utf-8", "ignore")  # a very long line, cut within a character
            else:
                raise FinalError(
                    f"Line {number} is not UTF-8. Convert the file first, for example with: "
                    "iconv -f CP949 -t UTF-8 old.txt > new.txt",
                    code="not-utf8",
                ) from None
        yield cut(text)


def train(
    corpus: Iterable[list[str]],
    recipe: Recipe,
    folder: Path,
    check: Callable[[], None],
    after_epoch: AfterEpoch,
) -> Trained:
    """Train, and write the model into ``folder``: vectors.bin (the format of word2vec) and config.json.

    ``check`` is called now and then while the corpus is read; it may raise. Raises FinalError: ``empty-corpus``, or
    ``no-vocabulary`` when no word occurs often enough.
    """
    from gensim.models.callbacks import CallbackAny2Vec
    from gensim.models.word2vec import Word2Vec

    class Epochs(CallbackAny2Vec):  # type: ignore[misc]
        """gensim sums the loss of all epochs in one float32: it is taken and set back after each."""

        def __init__(self) -> None:
            self.losses: list[float] = []

        def on_epoch_end(self, model: Any) -> None:
            self.losses.append(float(model.get_latest_training_loss()))
            model.running_training_loss = 0.0
            after_epoch(len(self.losses), self.losses[-1])

    with tempfile.TemporaryDirectory(prefix="callboard-words-") as scratch:
        lines = Path(scratch, "corpus.txt")
        sentences, tokens = _write(corpus, lines, check)
        if tokens == 0:
            raise FinalError(
                "The corpus is empty: there is no word in it. Give texts, token lists, or a file with a sentence a "
                "line.",
                code="empty-corpus",
            )
        model = Word2Vec(
            vector_size=recipe.vector_size, window=recipe.window, min_count=recipe.min_count, sg=recipe.sg,
            negative=recipe.negative, hs=int(recipe.negative == 0), sample=recipe.sample,
            alpha=recipe.learning_rate, workers=recipe.threads, seed=1 if recipe.seed is None else recipe.seed,
            max_vocab_size=_MOST_WORDS, epochs=recipe.epochs,
        )  # fmt: skip
        model.build_vocab(corpus_file=str(lines))
        if not len(model.wv):
            raise _no_vocabulary(lines, recipe.min_count)
        check()
        epochs = Epochs()
        model.train(
            corpus_file=str(lines), total_words=model.corpus_total_words, total_examples=model.corpus_count,
            epochs=recipe.epochs, compute_loss=True, callbacks=[epochs],
        )  # fmt: skip
    model.wv.save_word2vec_format(str(folder / "vectors.bin"), binary=True)
    about = {
        "kind": "word2vec",
        "sentences": sentences,
        "tokens": tokens,
        "losses": epochs.losses,
        **asdict(recipe),
    }
    (folder / "config.json").write_text(json.dumps(about))
    return Trained(len(model.wv), tokens, sentences, epochs.losses)


def _write(corpus: Iterable[list[str]], path: Path, check: Callable[[], None]) -> tuple[int, int]:
    """Sentences and words written."""
    sentences = tokens = 0
    with path.open("w", encoding="utf-8") as lines:
        for words in corpus:
            if sentences % _CHECK_LINES == 0:
                check()
            if words:
                lines.write(" ".join(words) + "\n")
                sentences, tokens = sentences + 1, tokens + len(words)
    return sentences, tokens


def _no_vocabulary(lines: Path, min_count: int) -> FinalError:
    counts: Counter[str] = Counter()
    with lines.open(encoding="utf-8") as read:
        for _, line in zip(range(100_000), read, strict=False):
            counts.update(line.split())
    most = ", ".join(f"{word} ({count})" for word, count in counts.most_common(5))
    return FinalError(
        f"No word occurs {min_count} times. The most frequent are: {most}. Lower min_count, or give more text.",
        code="no-vocabulary",
    )
