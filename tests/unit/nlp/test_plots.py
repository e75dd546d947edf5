"""Plots are pictures, whatever the labels are called."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from callboard_nlp.engines.plots import confusion_plot, training_plot

pytestmark = pytest.mark.models  # matplotlib is not a light import


def size(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_a_training_of_one_epoch_is_drawn_as_well(tmp_path: Path) -> None:
    entry = {"epoch": 1, "loss": 0.7, "eval_loss": 0.6, "accuracy": 0.5, "f1": 0.4}
    training_plot([entry], tmp_path / "one.png")
    training_plot([{**entry, "epoch": n, "loss": 1 / n} for n in range(1, 100)], tmp_path / "many.png")
    assert size(tmp_path / "one.png") == size(tmp_path / "many.png")


@pytest.mark.parametrize(
    "labels",
    [["좋음", "나쁨"], ["$x$", "$5 and $6"], ["a" * 200, "b"], [f"label {n}" for n in range(100)]],
)
def test_a_confusion_is_drawn_with_any_labels(labels: list[str], tmp_path: Path) -> None:
    matrix = [[row == column for column in range(len(labels))] for row in range(len(labels))]
    confusion_plot(labels, [[int(cell) for cell in row] for row in matrix], tmp_path / "confusion.png")
    assert min(size(tmp_path / "confusion.png")) > 300
