"""Labels in words: plurals, counts, and the sentence that a language model reads."""

from __future__ import annotations

import numpy as np
import pytest
from looking import findings, nothing

from callboard_vision.describing import seen_in
from callboard_vision.engines.interface import ModelFacts
from callboard_vision.labels import counted, listed, plural

NAMES = {0: "person", 1: "bus", 2: "사람", 3: "traffic light", 4: "sheep"}
FACTS = ModelFacts("detect", NAMES)


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("person", "persons"), ("bus", "buses"), ("traffic light", "traffic lights"), ("bench", "benches"),
        ("sheep", "sheep"), ("skis", "skis"), ("scissors", "scissors"), ("knife", "knives"), ("mouse", "mice"),
        ("wine glass", "wine glasses"), ("toothbrush", "toothbrushes"), ("couch", "couches"), ("toy", "toys"),
        ("berry", "berries"), ("Mouse", "Mice"), ("box", "boxes"), ("sports ball", "sports balls"), ("사람", "사람"),
        ("x-ray", "x-rays"), ("class_7", "class_7"), ("", ""), (" ", " "), ("naïve", "naïve"), ("potato", "potatoes"),
    ],
)  # fmt: skip
def test_plurals_are_english_where_labels_are(one: str, many: str) -> None:
    assert plural(one) == many


def test_counts_are_told_with_the_most_frequent_first() -> None:
    assert counted({"bus": 2, "person": 1}) == "2 buses and 1 person"
    assert counted({"person": 1_200, "bus": 1, "cat": 1}) == "1,200 persons, 1 bus and 1 cat"
    assert listed(["a"]) == "a"


def summary(*things: tuple[tuple[float, float, float, float], int]) -> str:
    found = findings([box for box, _ in things], [0.9] * len(things), [number for _, number in things])
    return str(seen_in(found, FACTS, 900, 600)["summary"])


LEFT, RIGHT, CENTRE = (0, 200, 100, 400), (800, 200, 900, 400), (400, 200, 500, 400)


def test_one_thing_is_told_with_its_place() -> None:
    assert summary((CENTRE, 1)) == "1 bus in a picture of 900×600 pixels: the bus in the centre."
    assert summary(((10, 20, 890, 580), 1)).endswith("the bus filling most of it.")


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ((0, 0, 9, 9), "at the top left"), ((440, 0, 450, 9), "at the top"), ((890, 0, 900, 9), "at the top right"),
        (LEFT, "on the left"), (RIGHT, "on the right"), ((0, 590, 9, 600), "at the bottom left"),
        ((440, 590, 450, 600), "at the bottom"), ((900, 600, 900, 600), "at the bottom right"),
    ],
)  # fmt: skip
def test_places_have_names(box: tuple[float, float, float, float], place: str) -> None:
    assert summary((box, 4)).endswith(f"the sheep {place}.")


def test_several_of_a_label_are_told_with_all_their_places_once() -> None:
    assert summary((LEFT, 0), (RIGHT, 0), (LEFT, 0), (CENTRE, 2)) == (
        "3 persons and 1 사람 in a picture of 900×600 pixels: persons on the left and on the right; "
        "the 사람 in the centre."
    )


def test_a_crowd_is_summed_up() -> None:
    boxes = [(x, y, x + 1.0, y + 1.0) for x in (0, 450, 890) for y in (0, 300, 590)]
    assert "persons at the top left, on the left, at the bottom left and elsewhere." in summary(
        *[(box, 0) for box in boxes]
    )
    facts = ModelFacts("detect", {number: f"kind {number}" for number in range(20)})
    found = findings([CENTRE] * 20, [0.9] * 20, range(20))
    told = str(seen_in(found, facts, 900, 600)["summary"])
    assert ", and 8 more things, in a picture" in told
    assert told.endswith("; ….")
    assert len(told) < 500


def test_nothing_is_said_to_be_nothing() -> None:
    seen = seen_in(nothing(), FACTS, 3, 2)
    assert seen == {
        "detections": [], "counts": {}, "summary": "Nothing was found in a picture of 3×2 pixels.", "width": 3, "height": 2,
    }  # fmt: skip


def test_numbers_are_short_and_within_the_picture() -> None:
    found = findings([[-7.123456, 0.125, 1234.5678, 600.01]], [0.123456], [1])
    (one,) = seen_in(found, FACTS, 900, 600)["detections"]
    assert one == {"label": "bus", "class_id": 1, "confidence": 0.1235, "box": [0.0, 0.12, 900.0, 600.0]}
    assert all(isinstance(value, float) for value in one["box"])
    assert found.boxes[0, 0] == np.float32(-7.123456), "what the engine gave stays as it is"
