"""Counts of different things, and the sentence that says them."""

from __future__ import annotations

from callboard_shared.jobs.vision import Followed, Line
from callboard_vision.tally import Tally


def seen(track_id: int, label: str, y: float = 0) -> Followed:
    return Followed(track_id=track_id, label=label, class_id=0, confidence=0.9, box=(40, y - 5, 60, y + 5))


def test_a_track_counts_once_with_the_label_it_had_most_often() -> None:
    tally = Tally([])
    for labels in (("car", "dog"), ("truck", "dog"), ("car", "dog")):
        tally.see([seen(1, labels[0]), seen(2, labels[1])])
    tally.see([seen(3, "dog")])
    assert tally.counts == {"dog": 2, "car": 1}
    assert (
        tally.summary(2.5, 1200) == "2 dogs and 1 car were followed through 2.5 s of video, in 1,200 frames."
    )


def test_nothing_is_said_as_such() -> None:
    tally = Tally([])
    tally.see([])
    assert tally.counts == {}
    assert tally.summary(1, 10) == "Nothing was followed through 1.0 s of video, in 10 frames."


def test_lines_are_counted_each_and_said() -> None:
    tally = Tally(
        [Line(name="gate", start=(0, 0), end=(100, 0)), Line(name="far", start=(0, 90), end=(100, 90))]
    )
    for y in (-20, 20):
        tally.see([seen(1, "car", y), seen(2, "car", -y)])
    tally.see([seen(1, "car", -20)])
    assert [(line.name, line.forth, line.back) for line in tally.crossings] == [("gate", 1, 2), ("far", 0, 0)]
    assert tally.summary(1, 3).endswith(
        "Line 'gate' was crossed once forth and twice back. Line 'far' was not crossed."
    )
