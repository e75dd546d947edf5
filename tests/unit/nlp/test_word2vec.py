"""Training Word2Vec: losses, threads, cancels, and what cannot be trained."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gensim.models.word2vec import Word2Vec, train_epoch_cbow

from callboard_nlp.engines.word2vec import epochs as word2vec_epochs
from callboard_nlp.engines.word2vec import training as word2vec
from callboard_nlp.engines.word2vec.corpus import LONGEST, from_lists, from_texts
from callboard_nlp.engines.word2vec.epochs import Watcher
from callboard_nlp.engines.word2vec.training import Recipe, Trained, train
from callboard_nlp.engines.word2vec.vectors import open_word_vectors
from callboard_shared.errors import FinalError
from callboard_shared.worker import JobCanceled

RECIPE = Recipe("words", 16, 3, 1, 0, 5, 1e-3, 0.05, 12, seed=7, threads=1)
TEXTS = [
    "The king rules the land.",
    "The queen rules the land!",
    "A farmer works: the land, the field.",
    "서울은 한국의 수도",
] * 30


def learnable(sentences: int) -> list[list[str]]:
    """Each sentence keeps to one of ten topics."""
    draw = random.Random(5)
    topics = [draw.randrange(10) for _ in range(sentences)]
    return [[f"t{topic}w{draw.randrange(40)}" for _ in range(12)] for topic in topics]


def trained(folder: Path, recipe: Recipe = RECIPE, watcher: Watcher | None = None, **changes: Any) -> Trained:
    folder.mkdir(exist_ok=True)
    return train(from_texts(TEXTS, "words"), replace(recipe, **changes), folder, watcher)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word2vec, "block_words", lambda *settings: 200)


class Told(Watcher):
    def __init__(self) -> None:
        self.epochs: list[tuple[int, float | None]] = []
        self.within: list[tuple[int, int, int]] = []
        self.warnings: list[str] = []

    def trained(self, epoch: int, words: int, of: int) -> None:
        self.within.append((epoch, words, of))

    def epoch_ended(self, epoch: int, loss: float | None) -> None:
        self.epochs.append((epoch, loss))

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def test_training_tells_each_epochs_own_loss_and_counts(tmp_path: Path) -> None:
    told = Told()
    made = trained(tmp_path, watcher=told)
    assert told.epochs == list(enumerate(made.losses, 1)) and len(made.losses) == 12
    assert made.loss == made.losses[-1]
    assert made.sentences == 120 and made.tokens == 30 * (5 + 5 + 7 + 3)
    assert made.vocabulary_size == 12 and made.left_out == 0 and told.warnings == []


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("changes", [{}, {"sg": 1}, {"negative": 0}, {"sg": 1, "negative": 0}])
def test_the_loss_is_gensims_own_on_one_thread_whatever_the_threads(
    changes: dict[str, int], threads: int, tmp_path: Path
) -> None:
    corpus = learnable(6_000)
    recipe = replace(
        RECIPE, sample=0.0, epochs=3, threads=threads, seed=None if threads > 1 else 7, **changes
    )
    losses = train(from_lists(corpus), recipe, tmp_path).losses
    lines = tmp_path / "lines.txt"
    lines.write_text("".join(" ".join(words) + "\n" for words in corpus))
    bare = Word2Vec(
        vector_size=16, window=3, min_count=1, sg=recipe.sg, negative=recipe.negative, hs=int(not recipe.negative),
        sample=0, alpha=0.05, epochs=3, workers=1,
    )  # fmt: skip
    bare.build_vocab(corpus_file=str(lines))
    words = bare.train(
        corpus_file=str(lines), total_words=72_000, total_examples=6_000, epochs=3, compute_loss=True
    )[0]
    whole = [loss for loss in losses if loss is not None]
    # Threads beside each other learn a little later from what the others learned; a sum that they overwrite for
    # each other, as gensim's, comes to a half or an eighth.
    near = 0.03 if threads == 1 else 0.2
    assert sum(whole) / 3 == pytest.approx(bare.get_latest_training_loss() / words, rel=near)


@pytest.mark.parametrize("changes", [{}, {"sg": 1}, {"negative": 0}])
def test_the_loss_falls_where_there_is_something_to_learn(
    changes: dict[str, int], small_blocks: None, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, seed=None, threads=4, epochs=6, sample=0.0, **changes)
    losses = [loss or math.nan for loss in train(from_lists(learnable(2_000)), recipe, tmp_path).losses]
    assert all(map(math.isfinite, losses))
    assert losses[0] == max(losses) and losses[-1] < 0.9 * losses[0]


def test_an_epoch_that_thinning_leaves_no_word_has_no_loss(tmp_path: Path) -> None:
    made = trained(tmp_path, sample=1e-14)
    assert made.losses == [None] * 12 and made.loss is None


def test_a_tiny_corpus_trains_the_same_whatever_the_threads(tmp_path: Path) -> None:
    for threads in (1, 3, 64):
        trained(tmp_path / str(threads), seed=None, threads=threads)
    one, *others = ((tmp_path / name / "vectors.bin").read_bytes() for name in ("1", "3", "64"))
    assert all(other == one for other in others)


def test_a_tiny_corpus_is_learned_with_many_threads(tmp_path: Path) -> None:
    recipe = replace(RECIPE, seed=None, threads=64, epochs=20, sample=0.0)
    train(from_lists(learnable(1_000)), recipe, tmp_path)
    near = open_word_vectors(tmp_path).most_similar(["t3w7"], [], 10)
    assert all(word.startswith("t3") for word, _ in near)


def test_every_word_is_trained_on_once_an_epoch(
    monkeypatch: pytest.MonkeyPatch, small_blocks: None, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []

    def kernel(*given: Any) -> Any:
        _, effective, raw = answer = train_epoch_cbow(*given)
        seen.append((effective, raw))
        return answer

    monkeypatch.setattr(word2vec_epochs, "train_epoch_cbow", kernel)
    lengths = [LONGEST, LONGEST + 1, LONGEST - 1, 3, 1, 2 * LONGEST, 7, 3 * LONGEST + 5, 9_999, 2]
    corpus = ([f"w{n % 50}" for n in range(length)] for length in lengths)
    made = train(from_lists(corpus), replace(RECIPE, epochs=1, sample=0.0, threads=3), tmp_path)
    assert made.tokens == sum(lengths) and len(seen) > 5
    assert sum(raw for _, raw in seen) == sum(effective for effective, _ in seen) == sum(lengths)


SAME = [{}, {"sg": 1}, {"negative": 0}, {"negative": 0, "sample": 0.0, "sg": 1}]


def test_a_seed_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "from callboard_nlp.engines.word2vec.training import Recipe, train\n"
        "from callboard_nlp.engines.word2vec.corpus import from_texts\n"
        f"recipe = Recipe(*{(*[getattr(RECIPE, name) for name in Recipe.__dataclass_fields__],)!r})\n"
        f"for number, changes in enumerate({SAME!r}):\n"
        "    folder = Path(sys.argv[1], str(number)); folder.mkdir(parents=True)\n"
        f"    train(from_texts({TEXTS!r}, 'words'), replace(recipe, **changes), folder)\n"
    )
    for hashes in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hashes}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / hashes)], check=True, env=environment)
    for number, changes in enumerate(SAME):
        trained(tmp_path / "here", **changes)
        files = [tmp_path / "here", *(tmp_path / hashes / str(number) for hashes in "12")]
        here, one, two = ((folder / "vectors.bin").read_bytes() for folder in files)
        assert here == one == two, changes
    trained(tmp_path / "other", seed=8)
    assert (tmp_path / "other" / "vectors.bin").read_bytes() != (tmp_path / "1/0/vectors.bin").read_bytes()


def test_how_far_an_epoch_is_is_told_within_it(
    monkeypatch: pytest.MonkeyPatch, small_blocks: None, tmp_path: Path
) -> None:
    monkeypatch.setattr(word2vec_epochs, "_TELL_S", 0.0)
    monkeypatch.setattr(word2vec_epochs, "_LOOK_UP_S", 0.001)
    told = Told()
    corpus = learnable(6_000)
    train(from_lists(corpus), replace(RECIPE, vector_size=200, sg=1, epochs=2), tmp_path, told)
    assert {epoch for epoch, _, _ in told.within} == {1, 2}
    words = [words for epoch, words, _ in told.within if epoch == 1]
    assert words == sorted(set(words)) and len(words) > 3
    assert all(0 < words <= of == 72_000 for _, words, of in told.within)


class Cancel(Watcher):
    """Cancels once the first part of an epoch is trained."""

    raised_at = math.inf
    ended = 0

    def trained(self, epoch: int, words: int, of: int) -> None:
        self.raised_at = time.monotonic()
        raise JobCanceled("The job was canceled.")

    def epoch_ended(self, epoch: int, loss: float | None) -> None:
        self.ended = epoch


@pytest.mark.parametrize("threads", [1, 4])
def test_a_cancel_is_heard_within_a_long_epoch_and_its_threads_end(
    threads: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(word2vec_epochs, "_TELL_S", 0.0)
    corpus = (sentence for _ in range(10) for sentence in learnable(6_000))
    recipe = replace(RECIPE, vector_size=500, sg=1, window=10, seed=None, threads=threads)
    cancel = Cancel()
    with pytest.raises(JobCanceled):
        train(from_lists(corpus), recipe, tmp_path, cancel)
    assert time.monotonic() - cancel.raised_at < 1.0 and cancel.ended == 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("word2vec")]
    assert list(tmp_path.iterdir()) == [], "a canceled training leaves no model"


def test_a_cancel_is_heard_while_the_corpus_is_read_and_between_epochs(tmp_path: Path) -> None:
    def cancel(*_: object) -> None:
        raise JobCanceled("The job was canceled.")

    for name in ("check", "epoch_ended"):
        watcher = Watcher()
        setattr(watcher, name, cancel)
        with pytest.raises(JobCanceled):
            trained(tmp_path, watcher=watcher)


def test_a_failure_in_a_thread_ends_the_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(word2vec_epochs, "train_epoch_cbow", broken)
    with pytest.raises(MemoryError):
        trained(tmp_path, threads=2)


def test_an_empty_corpus_and_one_of_rare_words_are_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(FinalError, match="empty"):
        train(from_texts(["", "!!"], "words"), RECIPE, tmp_path)
    with pytest.raises(FinalError, match=r"No word occurs 5 times.*a \(2\).*min_count"):
        train(from_texts(["a a b"], "words"), replace(RECIPE, min_count=5), tmp_path)


def test_a_single_word_trains_with_noise_words_and_is_refused_for_a_tree(tmp_path: Path) -> None:
    made = train(from_lists([["one"] * 9]), RECIPE, tmp_path)
    assert made.vocabulary_size == 1
    with pytest.raises(FinalError, match=r"Only one word occurs 1 times \(one\).*negative of 1") as refused:
        train(from_lists([["one"] * 9]), replace(RECIPE, negative=0), tmp_path)
    assert refused.value.problem_code == "no-vocabulary"


def test_words_beyond_the_memory_are_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(word2vec, "_MODEL_BYTES", 5 * (8 * 16 + word2vec._WORD_BYTES))
    told = Told()
    made = trained(tmp_path, watcher=told)
    assert made.vocabulary_size == 5 and made.left_out == 7
    assert "7 words" in told.warnings[0] and "5 most frequent" in told.warnings[0]
    assert open_word_vectors(tmp_path).vectors(["the", "land"])
