"""Word2Vec: corpora, training, and what a trained model answers."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from callboard_nlp.engines.word2vec import Recipe, from_file, from_lists, from_texts, train
from callboard_nlp.engines.word_vectors import WordVectors, open_word_vectors
from callboard_nlp.engines.words import tokenizer
from callboard_shared.errors import FinalError
from callboard_shared.worker import JobCanceled

RECIPE = Recipe("words", 16, 3, 1, 0, 5, 1e-3, 0.05, 12, seed=7, threads=1)
TEXTS = [
    "The king rules the land.",
    "The queen rules the land!",
    "A farmer works: the land, the field.",
    "서울은 한국의 수도",
] * 30


def nothing(*_: object) -> None:
    pass


def made(folder: Path, recipe: Recipe = RECIPE, texts: list[str] = TEXTS) -> WordVectors:
    folder.mkdir(exist_ok=True)
    train(from_texts(texts, recipe), recipe, folder, nothing, nothing)
    return open_word_vectors(folder)


def test_words_are_unicode_words_in_lower_case() -> None:
    assert tokenizer("words")("Don't stop: 한국의 NAÏVE_x 3.5!") == [
        "don't",
        "stop",
        "한국의",
        "naïve_x",
        "3",
        "5",
    ]
    assert tokenizer("whitespace")("Don't  stop: now") == ["Don't", "stop:", "now"]


def test_korean_is_cut_into_morphemes() -> None:
    assert tokenizer("korean")("한국의 수도는")[:2] == ["한국", "의"]


def test_a_worker_without_the_analyser_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    with pytest.raises(FinalError, match=r"callboard-nlp\[korean\]") as refused:
        tokenizer("korean")
    assert refused.value.problem_code == "tokenizer-not-installed"


def test_training_tells_each_epochs_own_loss_and_counts(tmp_path: Path) -> None:
    told: list[tuple[int, float]] = []
    trained = train(
        from_texts(TEXTS, RECIPE), RECIPE, tmp_path, nothing, lambda n, loss: told.append((n, loss))
    )
    assert [n for n, _ in told] == list(range(1, 13))
    assert trained.losses == [loss for _, loss in told]
    assert max(trained.losses) < 3 * min(trained.losses), "a sum over the epochs would grow twelvefold"
    assert trained.sentences == 120 and trained.tokens == 30 * (5 + 5 + 7 + 3)
    assert trained.vocabulary_size == 12


@pytest.mark.parametrize("changes", [{"sg": 1}, {"negative": 0}, {"sg": 1, "negative": 0}])
def test_skip_gram_and_hierarchical_softmax_train_too(changes: dict[str, int], tmp_path: Path) -> None:
    trained = train(from_texts(TEXTS, RECIPE), replace(RECIPE, **changes), tmp_path, nothing, nothing)
    assert trained.losses[-1] > 0


def test_a_seed_gives_the_same_vectors_in_every_process(tmp_path: Path) -> None:
    made(tmp_path / "a")
    code = (
        "import sys; from pathlib import Path; from callboard_nlp.engines.word2vec import *\n"
        f"recipe = Recipe(*{(*[getattr(RECIPE, name) for name in Recipe.__dataclass_fields__],)!r})\n"
        f"train(from_texts({TEXTS!r}, recipe), recipe, Path(sys.argv[1]), lambda: None, lambda n, x: None)\n"
    )
    (tmp_path / "b").mkdir()
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "b")], check=True)
    made(tmp_path / "c", replace(RECIPE, seed=8))
    one, same, other = ((tmp_path / name / "vectors.bin").read_bytes() for name in "abc")
    assert one == same and one != other


def test_token_lists_are_taken_as_they_are(tmp_path: Path) -> None:
    lists = [["New York", "is", "big"], ["Seoul", "is", "BIG"]] * 10
    train(from_lists(lists), RECIPE, tmp_path, nothing, nothing)
    assert set(open_word_vectors(tmp_path).vectors(["New_York", "Seoul", "BIG"])) == {
        "New_York",
        "Seoul",
        "BIG",
    }


def test_a_file_is_read_line_by_line_with_or_without_a_mark(tmp_path: Path) -> None:
    content = "\ufeff첫 줄\n\nsecond line\r\n".encode()
    assert list(from_file(io.BytesIO(content), RECIPE)) == [["첫", "줄"], [], ["second", "line"]]


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        ("good\n한글\n".encode("euc-kr"), "not-utf8", "Line 2"),
        (pickle.dumps(["a"]), "unsupported-format", "no text"),
        (b"\x1f\x8b\x08\x00", "unsupported-format", "no text"),
    ],
)
def test_a_file_that_is_no_text_is_refused_by_its_line(content: bytes, code: str, says: str) -> None:
    with pytest.raises(FinalError, match=says) as refused:
        list(from_file(io.BytesIO(content), RECIPE))
    assert refused.value.problem_code == code


def test_an_empty_corpus_and_one_of_rare_words_are_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(FinalError, match="empty"):
        train(from_texts(["", "!!"], RECIPE), RECIPE, tmp_path, nothing, nothing)
    with pytest.raises(FinalError, match=r"No word occurs 5 times.*a \(2\).*min_count"):
        train(from_texts(["a a b"], RECIPE), replace(RECIPE, min_count=5), tmp_path, nothing, nothing)


def test_a_cancel_ends_training_while_it_reads_and_after_an_epoch(tmp_path: Path) -> None:
    def cancel(*_: object) -> None:
        raise JobCanceled("The job was canceled.")

    with pytest.raises(JobCanceled):
        train(from_texts(TEXTS, RECIPE), RECIPE, tmp_path, cancel, nothing)
    with pytest.raises(JobCanceled):
        train(from_texts(TEXTS, RECIPE), RECIPE, tmp_path, nothing, cancel)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> WordVectors:
    return made(tmp_path_factory.mktemp("words"))


def test_every_question_is_answered(words: WordVectors) -> None:
    vectors = words.vectors(["king", "한국의"])
    assert {word: vector.shape for word, vector in vectors.items()} == {"king": (16,), "한국의": (16,)}
    a, b = vectors["king"], words.vectors(["queen"])["queen"]
    cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert words.similarity([("king", "queen"), ("king", "king")]) == pytest.approx([cosine, 1.0], abs=1e-5)
    nearest = words.most_similar(["king"], ["land"], 3)
    assert len(nearest) == 3 and not {"king", "land"} & {word for word, _ in nearest}
    assert [score for _, score in nearest] == sorted((score for _, score in nearest), reverse=True)
    assert words.doesnt_match(["king", "queen", "수도"]) in ("king", "queen", "수도")


def test_all_unknown_words_are_named_with_what_may_have_been_meant(words: WordVectors) -> None:
    for ask in (
        lambda: words.vectors(["king", "kingg", "zebra"]),
        lambda: words.similarity([("kingg", "zebra")]),
        lambda: words.most_similar(["kingg"], ["zebra"], 1),
        lambda: words.doesnt_match(["kingg", "zebra"]),
    ):
        with pytest.raises(FinalError, match=r"'kingg', 'zebra'.*did you mean king") as refused:
            ask()
        assert refused.value.problem_code == "unknown-word"


def test_texts_are_compared_by_their_known_words(words: WordVectors) -> None:
    vectors, tokens, unknown = words.text_vectors(["The king!", "zebra king", "king"])
    assert vectors.shape == (3, 16) and tokens == 4 and unknown == ["zebra"]
    assert vectors[1] == pytest.approx(vectors[2])
    with pytest.raises(FinalError, match="knows no word of 'quokka zebra'"):
        words.text_vectors(["king", "quokka zebra"])


def test_more_threads_train_as_well(tmp_path: Path) -> None:
    trained = train(
        from_texts(TEXTS, RECIPE), replace(RECIPE, seed=None, threads=2), tmp_path, nothing, nothing
    )
    assert trained.vocabulary_size == 12
