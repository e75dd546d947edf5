from __future__ import annotations

import json

from callboard_gateway.pages.figures import SHOWN_CHARS, event_line, show
from callboard_shared.ledger import Event


def test_a_vector_is_shown_by_its_beginning_and_its_length() -> None:
    text = show({"embeddings": [[0.123456789] * 384], "dimensions": 384})
    assert "0.1235, 0.1235, 0.1235, 0.1235, … 384 numbers" in text
    assert len(text) < 200


def test_what_is_short_is_shown_as_it_is() -> None:
    value = {"text": "안녕", "list": [1, 2, 3], "deep": {"a": [True, None]}}
    assert json.loads(show(value)) == value


def test_what_is_long_is_cut() -> None:
    assert "characters)" in show("x" * 5000)
    assert "50 more" in show(["a"] * 100)
    assert len(show([["x" * 2000] * 50] * 50)) == SHOWN_CHARS


def test_an_event_is_a_line() -> None:
    line = event_line(Event("1763846000123-0", "progress", b'{"fraction": 0.4, "message": "epoch 2"}'))
    assert line == {
        "id": "1763846000123-0", "time": "2025-11-22T21:13:20.123Z", "kind": "progress", "text": "40% epoch 2",
    }  # fmt: skip
    assert event_line(Event("1-0", "status", b'{"status": "running", "attempt": 1}'))["text"] == "running"
    assert event_line(Event("1-0", "delta", b'{"text": "Hel"}'))["text"] == "Hel"
    assert event_line(Event("1-0", "something", b"{}"))["text"] == ""
