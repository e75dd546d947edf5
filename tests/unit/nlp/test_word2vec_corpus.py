"""Word2Vec's corpora: cut into words, read as a stream, counted exactly."""

from __future__ import annotations

import io
import pickle
import random
import sys
import tracemalloc
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from callboard_nlp.engines.word2vec.corpus import LONGEST, from_file, from_lists, from_texts
from callboard_nlp.engines.word2vec.vocabulary import WordCounts
from callboard_nlp.engines.word2vec.words import Tokenize, tokenizer
from callboard_shared.errors import FinalError
from callboard_shared.worker import JobCanceled


def nothing() -> None:
    pass


def of_file(content: bytes, tokenizer: str = "words") -> list[list[str]]:
    return [words for words in from_file(io.BytesIO(content), tokenizer) if words]  # type: ignore[arg-type]


def test_words_are_unicode_words_in_lower_case() -> None:
    words = ["don't", "stop", "한국의", "naïve_x", "3", "5"]
    assert tokenizer("words")("Don't stop: 한국의 NAÏVE_x 3.5!") == words
    assert tokenizer("words")("Don't stop: 3.5!") == ["don't", "stop", "3", "5"]
    assert tokenizer("whitespace")("Don't  stop: now") == ["Don't", "stop:", "now"]


def test_marks_stay_with_their_letters() -> None:
    cut = tokenizer("words")
    assert cut("हिन्दी में लिखा।") == ["हिन्दी", "में", "लिखा"]
    assert cut("שָׁלוֹם עוֹלָם") == [unicodedata.normalize("NFC", word) for word in ("שָׁלוֹם", "עוֹלָם")]
    assert cut("\U00011107\U00011127\U00011134 x") == ["\U00011107\U00011127\U00011134", "x"], (
        "beyond U+FFFF too"
    )
    assert cut("\u0301 ❤\ufe0f ok") == ["ok"], "a mark without a letter is no word"


@pytest.fixture(scope="module")
def korean() -> Tokenize:
    return tokenizer("korean")  # seconds


@pytest.mark.parametrize("name", ["words", "whitespace", "korean"])
def test_decomposed_letters_are_the_composed_ones(name: str, korean: Tokenize) -> None:
    text = "한국 서울 café"
    cut = korean if name == "korean" else tokenizer(name)  # type: ignore[arg-type]
    assert cut(unicodedata.normalize("NFD", text)) == cut(text)
    assert cut(text)[0] == "한국" and cut(text)[-1] == "café"


def test_korean_is_cut_into_morphemes_without_symbols(korean: Tokenize) -> None:
    assert korean("한국의 수도는")[:2] == ["한국", "의"]
    words = korean("“GPU” 3개를… 샀다! (漢字, 서울·부산) ㈜ ~ 😀")
    assert {"GPU", "3", "漢字", "서울", "부산"} <= set(words)
    assert not [word for word in words if not any(letter.isalnum() for letter in word)]


def test_a_worker_without_the_analyser_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    with pytest.raises(FinalError, match=r"callboard-nlp\[korean\]") as refused:
        tokenizer("korean")
    assert refused.value.problem_code == "tokenizer-not-installed"


def test_token_lists_are_taken_as_they_are_but_for_spaces_and_normal_form() -> None:
    given = [["New York", "is", "BIG"], ["cafe\u0301", " "]]
    assert list(from_lists(given)) == [["New_York", "is", "BIG"], ["café", "_"]]


def test_a_file_is_read_line_by_line_with_or_without_a_mark() -> None:
    content = "\ufeff첫 줄\n\nsecond line\r\nlast".encode()
    assert of_file(content) == [["첫", "줄"], ["second", "line"], ["last"]]
    assert of_file(b"") == of_file("\ufeff".encode()) == []


@pytest.mark.parametrize("space", [" ", "\t", "\u3000"])
def test_a_line_of_megabytes_is_read_whole_whatever_its_pieces_cut(space: str) -> None:
    words = [f"{'가나다라마'[n % 5]}{n % 997}" * (1 + n % 3) for n in range(200_000)]
    sentences = of_file(space.join(words).encode() + b"\nnext line\n")
    assert [word for sentence in sentences for word in sentence] == [*words, "next", "line"]
    assert [len(sentence) for sentence in sentences] == [LONGEST] * 20 + [2]


def test_a_long_line_is_never_held_whole() -> None:
    class OneLine(io.RawIOBase):
        left = 6_400_000

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            size = min(len(buffer) // 8 * 8, self.left)
            self.left -= size
            buffer[:size] = b"seven77 " * (size // 8)
            return size

    tracemalloc.start()
    read = sum(map(len, from_file(io.BufferedReader(OneLine()), "words")))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read == 800_000 and most < 3_200_000


def test_long_texts_and_lists_go_on_as_the_next_sentence_without_loss() -> None:
    words = [str(n) for n in range(2 * LONGEST + 5)]
    for sentences in (list(from_texts([" ".join(words)], "words")), list(from_lists([words]))):
        assert [len(sentence) for sentence in sentences] == [LONGEST, LONGEST, 5]
        assert [word for sentence in sentences for word in sentence] == words


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        ("good\n한글\n".encode("euc-kr"), "not-utf8", "Line 2"),
        (b"a \xed\x95\x9c b" * 10_000 + b"\n" + b"\xed\x95", "not-utf8", "Line 2"),
        (b"x" * 100_000 + b"\n" + "길".encode() * 50_000 + b"\xff \n", "not-utf8", "Line 2"),
        (pickle.dumps(["a"]), "unsupported-format", "line 1 is binary"),
        (b"\x1f\x8b\x08\x00", "unsupported-format", "line 1 is binary"),
        (b"text\nmore text\nthen\0bytes\n", "unsupported-format", "line 3 is binary"),
        ("two\nlines\n".encode("utf-16-le"), "unsupported-format", "line 1 is binary.*UTF-16"),
    ],
)
def test_a_file_that_is_no_text_is_refused_by_its_line(content: bytes, code: str, says: str) -> None:
    with pytest.raises(FinalError, match=says) as refused:
        of_file(content)
    assert refused.value.problem_code == code


def test_words_are_counted_exactly_though_few_are_kept_in_memory(tmp_path: Path) -> None:
    draw = random.Random(3)
    words = [f"w{int(draw.paretovariate(0.6)) % 5000}" for _ in range(60_000)]
    counts = WordCounts(tmp_path, most_at_once=300)
    for start in range(0, len(words), 20):
        counts.add(words[start : start + 20])
    assert len(counts._written) > 10, "it was written down many times"
    true = Counter(words)
    vocabulary = counts.vocabulary(3, 10**9, nothing)
    assert vocabulary.counts == {word: count for word, count in true.items() if count >= 3}
    assert vocabulary.left_out == 0 and vocabulary.rarest == 3
    assert list(vocabulary.counts.values()) == sorted(vocabulary.counts.values(), reverse=True)


@pytest.mark.parametrize("most_at_once", [2, 100])
def test_the_most_frequent_words_are_kept_and_the_others_told(most_at_once: int, tmp_path: Path) -> None:
    counts = WordCounts(tmp_path, most_at_once)
    for word, times in (("d", 2), ("a", 9), ("c", 4), ("e", 4), ("b", 4), ("f", 1)):
        counts.add([word] * times)
    vocabulary = counts.vocabulary(2, 3, nothing)
    assert vocabulary.counts == {"a": 9, "b": 4, "c": 4}
    assert vocabulary.left_out == 2 and vocabulary.rarest == 4


def test_words_too_rare_are_refused_with_the_true_counts_of_the_whole_corpus(tmp_path: Path) -> None:
    counts = WordCounts(tmp_path, 1000)
    for number in range(120_000):
        counts.add([f"once{number}"])
    counts.add(["thrice"] * 3)
    with pytest.raises(
        FinalError, match=r"No word occurs 5 times.*are: thrice \(3\), once0 \(1\)"
    ) as refused:
        counts.vocabulary(5, 100, nothing)
    assert refused.value.problem_code == "no-vocabulary"


def test_a_cancel_is_heard_while_counts_are_merged(tmp_path: Path) -> None:
    def cancel() -> None:
        raise JobCanceled("The job was canceled.")

    counts = WordCounts(tmp_path, 1)
    counts.add(["a", "b"])
    with pytest.raises(JobCanceled):
        counts.vocabulary(1, 1, cancel)
