"""Short texts, all different, of lengths as people write them: about ten words."""

from __future__ import annotations

_WHO = (
    "The crew",
    "A dispatcher",
    "My neighbour",
    "The night train",
    "An old engineer",
    "Our support team",
    "She",
    "The parcel",
)
_DOES = (
    "is waiting for",
    "asked about",
    "has lost",
    "carries",
    "wants to return",
    "found",
    "complains about",
    "paid for",
)
_WHAT = ("the morning timetable", "a refund for last month", "the blue suitcase", "two tickets to Busan",
         "an invoice with the wrong address", "the new password", "a seat by the window", "spare parts")  # fmt: skip
_WHEN = (
    "",
    " again",
    " since yesterday",
    " before the meeting starts",
    " at platform nine",
    " without saying why",
)
_VERDICTS = (
    ("positive", "It was a joy from start to finish."),
    ("negative", "I want my money back."),
    ("positive", "We would come again at once."),
    ("negative", "Never again, and I told them so."),
)


def short_texts(count: int) -> list[str]:
    """``count`` sentences of 5 to 13 words; different up to 3,072 of them."""
    sizes = (len(_WHO), len(_DOES), len(_WHAT), len(_WHEN))
    found = []
    for number in range(count):
        mixed = (
            number * 1_009 % (sizes[0] * sizes[1] * sizes[2] * sizes[3])
        )  # 1,009 is prime: no early repeats
        picks = []
        for size in sizes:
            mixed, pick = divmod(mixed, size)
            picks.append(pick)
        found.append(f"{_WHO[picks[0]]} {_DOES[picks[1]]} {_WHAT[picks[2]]}{_WHEN[picks[3]]}.")
    return found


def reviews(count: int) -> list[dict[str, str]]:
    """``count`` rows {text, label} to fine-tune on, of 10 to 70 words, as reviews are: long and short ones mixed."""
    sentences = short_texts(3_072)
    found = []
    for number in range(count):
        length = 1 + number * 7 % 5
        story = [sentences[(number * 13 + at) % len(sentences)] for at in range(length)]
        label, verdict = _VERDICTS[number % len(_VERDICTS)]
        found.append({"text": " ".join([*story, verdict]), "label": label})
    return found
