"""Strange content: texts and numbers that few expect, and what was right before somebody spoiled it."""

from __future__ import annotations

from hypothesis import strategies as st

TEXTS = st.text(max_size=200)
DIGITS = st.sampled_from(["9" * 5_000, "0" * 5_000, "1e9999", "nan", "inf", "-0", "٣", "1_000", " 7 ", "7.5"])


def spoiled(whole: bytes) -> st.SearchStrategy[bytes]:
    """The content with a few bytes changed, cut off, or doubled in part."""
    places = st.integers(0, len(whole) - 1)
    changed = st.lists(st.tuples(places, st.integers(0, 255)), max_size=8).map(
        lambda spots: _changed(whole, spots)
    )
    cut = places.map(lambda at: whole[:at])
    return st.one_of(
        changed, cut, st.tuples(places, places).map(lambda both: whole[: both[0]] + whole[both[1] :])
    )


def _changed(whole: bytes, spots: list[tuple[int, int]]) -> bytes:
    data = bytearray(whole)
    for at, value in spots:
        data[at] = value
    return bytes(data)
