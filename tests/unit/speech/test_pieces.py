from __future__ import annotations

import pytest

from callboard_llm.speech.pieces import CLAUSE_S, PARAGRAPH_S, SENTENCE_S, WORD_S, cut


def texts(text: str, limit: int) -> list[str]:
    return [piece.text for piece in cut(text, limit)]


def test_a_text_within_the_limit_stays_whole() -> None:
    assert texts("  One. Two.\n\nThree. ", 100) == ["One. Two.\n\nThree."]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("First one. Second two. Third three.", ["First one.", "Second two.", "Third three."]),
        ('He said "Stop." She did. All fine now.', ['He said "Stop."', "She did.", "All fine now."]),
        ("Really?! Yes, it is… And more to say.", ["Really?!", "Yes, it is…", "And more to say."]),
        ("기차가 곧 출발합니다. 승강장은 2번입니다. 감사합니다!", ["기차가 곧 출발합니다.", "승강장은 2번입니다.", "감사합니다!"]),
        ("電車が来ます。お下がりください。どうぞ。", ["電車が来ます。お下がりください。", "どうぞ。"]),
    ],
)  # fmt: skip
def test_it_is_cut_at_sentences(text: str, wanted: list[str]) -> None:
    assert texts(text, 16) == wanted


@pytest.mark.parametrize("text", ["We met Dr. Smith and Mr. Kim there.", "It costs 3.50 in the U.S. or so now.",
                                  "By J. R. R. Tolkien, e.g. the ring."])  # fmt: skip
def test_an_abbreviation_ends_no_sentence(text: str) -> None:
    pieces = cut(text, len(text) - 1)
    assert [piece.pause_s for piece in pieces[:-1]] != [SENTENCE_S]
    assert all(not piece.text.endswith(("Dr.", "Mr.", "U.S.", "J.", "R.", "e.g.")) for piece in pieces)


def test_each_cut_has_the_pause_of_its_place() -> None:
    assert cut("One two.\n\nThree four.", 12)[0].pause_s == PARAGRAPH_S
    assert cut("One two. Three four.", 12)[0].pause_s == SENTENCE_S
    assert cut("one two, three four", 12)[0].pause_s == CLAUSE_S
    assert cut("one two three four", 12)[0].pause_s == WORD_S
    assert cut("가" * 20, 12)[0].pause_s == 0


def test_nothing_is_lost_and_no_piece_is_too_long() -> None:
    text = "".join(chr(0xAC00 + n) + ("" if n % 7 else " ") + ("" if n % 31 else ". ") for n in range(2_000))
    for limit in (1, 10, 97, 400):
        pieces = texts(text, limit)
        assert max(map(len, pieces)) <= limit
        kept = "".join("".join(pieces).split())
        assert [c for c in kept if c.isalnum()] == [c for c in text if c.isalnum()]


def test_a_character_is_not_parted_from_its_accent() -> None:
    text = "e\u0301" * 10
    assert all(not piece.startswith("\u0301") for piece in texts(text, 5))


def test_what_has_nothing_to_say_is_no_piece() -> None:
    assert texts("Hello there. ... !!! 😀😀😀😀😀😀😀😀 . And bye.", 12) == ["Hello there.", "And bye."]
