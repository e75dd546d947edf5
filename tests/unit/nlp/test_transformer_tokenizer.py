"""Any text can be written, and comes back as it was."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard_nlp.engines.transformer.tokenizer import BEGIN, END, PAD, PairTokenizer

TEXTS = ["the king rules the land", "왕은 나라를 다스린다", "여왕은 왕의 곁에 있다"] * 20
LEARNED = PairTokenizer.learned(TEXTS, 400)


def back(text: str) -> str:
    return LEARNED.decode(LEARNED.encode([text])[0])


@pytest.mark.parametrize(
    "text",
    [
        "the king", "왕은 나라를 다스린다", "뷁 쀍 unseen", "👩‍👩‍👧 🇰🇷 😀", "  two  spaces \n\tand lines\r\n", "\u0000\ufffd",
        "<pad><begin><end>", "العربية नमस्ते 𝕏 ꙮ", "Ġ Ċ â", "1234567890 ½ ² ٣", "don't “quote” — ok…", "a" * 5000,
    ],
)  # fmt: skip
def test_a_text_comes_back_as_it_was(text: str) -> None:
    assert back(text) == unicodedata.normalize("NFC", text)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back_in_nfc(text: str) -> None:
    assert back(text) == unicodedata.normalize("NFC", text)


def test_both_spellings_of_a_letter_are_one() -> None:
    decomposed = unicodedata.normalize("NFD", "한국 café")
    assert decomposed != "한국 café" and LEARNED.encode([decomposed]) == LEARNED.encode(["한국 café"])


def test_no_text_can_hold_a_mark() -> None:
    marks = {PAD, BEGIN, END}
    assert not marks & set(LEARNED.encode(["<pad> <begin> <end>"])[0])


def test_what_is_frequent_is_one_token_and_digits_stand_alone() -> None:
    assert len(LEARNED.encode(["the king"])[0]) == 2
    assert len(LEARNED.encode(["왕은"])[0]) == 1
    numbers = PairTokenizer.learned(["2026 2026 2026"] * 50, 400)
    assert len(numbers.encode(["2026"])[0]) == 4


def test_the_vocabulary_is_at_most_as_large_as_asked_and_holds_all_bytes() -> None:
    assert PairTokenizer.learned(TEXTS, 280).size == 280
    least = PairTokenizer.learned(["aa bb"], 259)
    assert least.size == 259
    assert least.decode(least.encode(["뷁 😀"])[0]) == "뷁 😀"


def test_what_is_no_utf8_becomes_the_replacement_character() -> None:
    ids = LEARNED.encode(["😀"])[0]
    assert "�" in LEARNED.decode(ids[:-1])


def test_it_is_kept_in_a_file(tmp_path: Path) -> None:
    LEARNED.save(tmp_path / "tokenizer.json")
    again = PairTokenizer.opened(tmp_path / "tokenizer.json")
    text = "the king 왕은 <end> 😀"
    assert again.encode([text]) == LEARNED.encode([text]) and again.size == LEARNED.size
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="cannot be read"):
        PairTokenizer.opened(tmp_path / "tokenizer.json")
