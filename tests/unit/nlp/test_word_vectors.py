"""What a trained Word2Vec model answers."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from callboard_nlp.engines.word2vec.corpus import from_lists, from_texts
from callboard_nlp.engines.word2vec.training import Recipe, train
from callboard_nlp.engines.word2vec.vectors import WordVectors, open_word_vectors
from callboard_shared.errors import FinalError

RECIPE = Recipe("words", 16, 3, 1, 0, 5, 1e-3, 0.05, 12, seed=7, threads=1)
OF_LISTS = replace(RECIPE, tokenizer="lists")
TEXTS = [
    "The king rules the land.",
    "The queen rules the land!",
    "A farmer works: the land, the field.",
    "서울은 한국의 수도",
] * 30


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> WordVectors:
    folder = tmp_path_factory.mktemp("words")
    train(from_texts(TEXTS, "words"), RECIPE, folder)
    return open_word_vectors(folder)


@pytest.fixture(scope="module")
def of_lists(tmp_path_factory: pytest.TempPathFactory) -> WordVectors:
    folder = tmp_path_factory.mktemp("lists")
    lists = [["New York", "is", "BIG", ".", "big"], ["The", "U.S.", "and", "Cafe\u0301", "are", "old"]] * 20
    train(from_lists(lists), OF_LISTS, folder)
    return open_word_vectors(folder)


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


def test_a_word_that_is_named_twice_is_no_trouble(words: WordVectors) -> None:
    twice = words.most_similar(["king", "king"], [], 4)
    once = words.most_similar(["king"], [], 4)
    assert [word for word, _ in twice] == [word for word, _ in once]
    assert [score for _, score in twice] == pytest.approx([score for _, score in once], abs=1e-5)
    assert all(-1 <= score <= 1 for _, score in words.most_similar(["king"], ["king"], 3))
    assert words.doesnt_match(["king", "king", "queen"]) in ("king", "queen")
    assert words.doesnt_match(["king", "king"]) == "king"
    assert list(words.vectors(["king", "king"])) == ["king"]
    assert len(words.similarity([("king", "queen")] * 2)) == 2


def test_a_word_is_asked_for_as_it_stood_in_the_texts(words: WordVectors) -> None:
    decomposed = unicodedata.normalize("NFD", "한국의")
    assert decomposed != "한국의"
    vectors = words.vectors(["King", "king", decomposed, "한국의"])
    assert list(vectors) == ["King", "king", decomposed, "한국의"]
    assert np.array_equal(vectors["King"], vectors["king"])
    assert np.array_equal(vectors[decomposed], vectors["한국의"])
    assert words.doesnt_match(["KING", "QUEEN", "수도"]) in ("KING", "QUEEN", "수도")


def test_a_model_of_lists_knows_its_tokens_by_their_own_spelling(of_lists: WordVectors) -> None:
    vectors = of_lists.vectors(["New York", "New_York", "BIG", "big", "Big", "Café"])
    assert np.array_equal(vectors["New York"], vectors["New_York"])
    assert not np.array_equal(vectors["BIG"], vectors["big"])
    assert np.array_equal(vectors["Big"], vectors["big"])
    assert of_lists.most_similar(["New York"], [], 20)


def test_texts_are_compared_with_a_model_of_lists_by_its_own_tokens(of_lists: WordVectors) -> None:
    vectors, known, unknown = of_lists.text_vectors(["The U.S. is BIG", "the New_York, is old!", "Is."])
    token = of_lists.vectors(["The", "U.S.", "is", "BIG"])
    assert vectors[0] == pytest.approx(np.mean(list(token.values()), axis=0))
    assert known == 4 + 3 + 1 and unknown == ["the"], "'the' is not 'The', but 'Is' may be 'is'"


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


def test_hundreds_of_unknown_words_are_all_listed_and_of_thousands_it_is_said(words: WordVectors) -> None:
    with pytest.raises(FinalError, match="'no49' and 250 more") as refused:
        words.vectors([f"no{n}" for n in range(300)])
    assert [one["word"] for one in refused.value.errors or []] == [f"no{n}" for n in range(300)]
    with pytest.raises(FinalError, match=r"and 1,950 more \(the first 1,000 are listed\)") as refused:
        words.vectors([f"no{n}" for n in range(2000)])
    assert len(refused.value.errors or []) == 1000


def test_texts_are_compared_by_their_known_words(words: WordVectors) -> None:
    vectors, tokens, unknown = words.text_vectors(["The king!", "zebra king", "king"])
    assert vectors.shape == (3, 16) and tokens == 4 and unknown == ["zebra"]
    assert vectors[1] == pytest.approx(vectors[2])
    with pytest.raises(FinalError, match="knows no word of 'quokka zebra'"):
        words.text_vectors(["king", "quokka zebra"])


def test_the_file_is_what_gensim_reads_as_the_format_of_word2vec(tmp_path: Path) -> None:
    from gensim.models import KeyedVectors

    train(from_lists([["New York", "한국"]] * 9), OF_LISTS, tmp_path)
    keyed = KeyedVectors.load_word2vec_format(str(tmp_path / "vectors.bin"), binary=True)
    assert sorted(keyed.index_to_key) == ["New_York", "한국"] and keyed.vector_size == 16
