"""How whole numbers are read in Korean: what the default model ``numbers-ko`` learns."""

from __future__ import annotations

from random import Random

DIGITS = "영일이삼사오육칠팔구"
PLACES = ("천", "백", "십", "")
LARGEST = 9_999_999
_ALWAYS_TRAINED_BELOW = 200
"""Too few to leave any out."""


def read(number: int) -> str:
    """The Sino-Korean reading, parted at 만 as the orthography asks (한글 맞춤법, 44항); 일 is not said before 십, 백,
    천, nor before 만 alone."""
    if not 0 <= number <= LARGEST:
        raise ValueError(f"{number} is not between 0 and {LARGEST}")
    if number == 0:
        return DIGITS[0]
    many, rest = divmod(number, 10_000)
    parts = [("" if many == 1 else _four(many)) + "만"] if many else []
    return " ".join([*parts, *([_four(rest)] if rest else [])])


def _four(number: int) -> str:
    spoken = ""
    for digit, place in zip(f"{number:04d}", PLACES, strict=True):
        if digit != "0":
            spoken += place if digit == "1" and place else DIGITS[int(digit)] + place
    return spoken


def numbers(train: int, held_out: int, seed: int) -> tuple[list[int], list[int]]:
    """(to train on, to measure on): of one to seven digits, of the longer ones more, half of them with many zeros.

    What is trained on may come twice; what is measured on comes once, and is never trained on.
    """
    random = Random(seed)
    measured: dict[int, None] = {}
    while len(measured) < held_out:
        number = _drawn(random)
        if number >= _ALWAYS_TRAINED_BELOW:
            measured[number] = None
    trained: list[int] = []
    while len(trained) < train:
        number = _drawn(random)
        if number not in measured:
            trained.append(number)
    return trained, list(measured)


def _drawn(random: Random) -> int:
    (length,) = random.choices(range(1, 8), weights=range(1, 8))
    digits = [random.randint(0 if length == 1 else 1, 9), *(random.randint(0, 9) for _ in range(length - 1))]
    if random.random() < 0.5:
        digits[1:] = [digit if random.random() < 0.5 else 0 for digit in digits[1:]]
    return int("".join(map(str, digits)))
