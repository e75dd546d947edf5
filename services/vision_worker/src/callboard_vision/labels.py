"""Labels in words: which classes are meant, and how many things there are."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from callboard_shared.errors import FinalError

_MOST_LISTED = 20
_IRREGULAR = {
    "mouse": "mice", "man": "men", "woman": "women", "child": "children", "foot": "feet", "goose": "geese",
    "knife": "knives", "wolf": "wolves", "loaf": "loaves", "leaf": "leaves", "shelf": "shelves", "calf": "calves",
    "ox": "oxen", "tooth": "teeth", "potato": "potatoes", "tomato": "tomatoes",
}  # fmt: skip
_UNCHANGED = {
    "sheep", "skis", "scissors", "fish", "deer", "aircraft", "broccoli", "luggage", "pants", "jeans", "glasses",
    "furniture", "clothing", "species", "series", "people",
}  # fmt: skip
_HISSING = ("s", "x", "z", "ch", "sh")


def class_ids(names: Mapping[int, str], asked: Sequence[str | int] | None) -> tuple[int, ...] | None:
    """The classes that are asked for, by name (whatever its case) or number; None for all. Raises FinalError
    ``unknown-class``, naming those that are meant, or those there are."""
    if asked is None:
        return None
    by_name = {name.casefold(): number for number, name in names.items()} | {
        name: number for number, name in names.items()
    }
    return tuple(dict.fromkeys(_class_id(names, by_name, one) for one in asked))


def _class_id(names: Mapping[int, str], by_name: Mapping[str, int], asked: str | int) -> int:
    if isinstance(asked, str):
        for name in (asked, asked.strip().casefold()):
            if name in by_name:
                return by_name[name]
    number = int(asked) if isinstance(asked, int) or (asked.isascii() and asked.isdigit()) else -1
    if number in names:
        return number
    raise _unknown(names, asked)


def _unknown(names: Mapping[int, str], asked: str | int) -> FinalError:
    known = [names[number] for number in sorted(names)]
    near = difflib.get_close_matches(str(asked).casefold(), [name.casefold() for name in known], n=3)
    meant = [name for name in known if name.casefold() in near]
    listed = ", ".join(known[:_MOST_LISTED]) + (", …" if len(known) > _MOST_LISTED else "")
    hint = f"Did you mean {' or '.join(meant)}?" if meant else f"It has {len(known)}: {listed}."
    detail = f"The model has no class {str(asked)[:100]!r}. {hint}"
    fault = {"field": "input.classes", "message": detail, "code": "unknown-class", "allowed": known}
    return FinalError(detail, code="unknown-class", errors=[fault])


def plural(label: str) -> str:
    """An English label's plural, of its last word; a label in another script stays as it is."""
    head, space, word = label.rpartition(" ")
    if not word.isascii() or not word[-1:].isalpha() or word.lower() in _UNCHANGED:
        return label
    lower = word.lower()
    if lower in _IRREGULAR:
        ending = _IRREGULAR[lower]
        return f"{head}{space}{word[0]}{ending[1:]}"
    if lower.endswith(_HISSING):
        return label + "es"
    if lower.endswith("y") and lower[-2:-1] not in tuple("aeiou"):
        return label[:-1] + "ies"
    return label + "s"


def counted(counts: Mapping[str, int]) -> str:
    """``2 persons and 1 bus``, the most frequent first."""
    return listed([f"{n:,} {label if n == 1 else plural(label)}" for label, n in counts.items()])


def listed(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
