"""How the demo tells results, and how the supervisor hears that it should end."""

from __future__ import annotations

import signal

import pytest

from callboard_embedded import run
from callboard_embedded.stories import brief, cosine


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (
            {"embeddings": [[0.1] * 384], "dimensions": 384},
            '"embeddings": \\[⟨384 values⟩], "dimensions": 384',
        ),
        ({"score": 0.123456}, '"score": 0.123'),
        ({"text": "가" * 100}, '"text": "' + "가" * 50 + "…"),
        (None, "null"),
    ],
)
def test_an_output_is_told_in_one_line(output: object, told: str) -> None:
    assert brief(output, 60) == told


def test_the_cosine_of_parallel_and_orthogonal_vectors() -> None:
    assert cosine([1, 2], [2, 4]) == pytest.approx(1)
    assert cosine([1, 0], [0, 1]) == 0


def test_a_second_ctrl_c_is_impatience_but_the_same_one_passed_on_by_make_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(run.time, "monotonic", lambda: now)
    stopping = run.Stopping()
    stopping.hear(signal.SIGINT)
    now = 100.2
    stopping.hear(signal.SIGINT)
    assert stopping.asked.is_set()
    assert not stopping.at_once.is_set()
    now = 103.0
    stopping.hear(signal.SIGTERM)
    assert not stopping.at_once.is_set()
    stopping.hear(signal.SIGINT)
    assert stopping.at_once.is_set()
