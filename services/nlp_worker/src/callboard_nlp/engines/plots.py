"""Pictures of a training, as PNG. Drawn without pyplot, whose state all threads of a process share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KOREAN = (
    "NanumGothic",
    "Nanum Gothic",
    "NanumBarunGothic",
    "NanumSquareRound",
    "Noto Sans CJK KR",
    "Malgun Gothic",
)
_MOST_NUMBERED = 20
"""Labels up to which the confusion's cells hold their number."""
_MOST_NAMED = 50
_LONGEST_NAME = 24
_DPI = 120


def training_plot(history: Sequence[dict[str, Any]], path: Path, title: str = "Fine-tuning") -> None:
    """``history``: {epoch, loss, eval_loss, accuracy, …} by epoch; the last two may be missing."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(8, 4.5)
    losses = figure.add_subplot()
    epochs = [one["epoch"] for one in history]
    losses.plot(epochs, [one["loss"] for one in history], "o-", color="tab:blue", label="training loss")
    losses.set_xlabel("Epoch")
    losses.set_ylabel("Loss")
    losses.xaxis.set_major_locator(MaxNLocator(integer=True))
    losses.grid(alpha=0.3)
    lines = [*losses.get_lines()]
    if "eval_loss" in history[0]:
        measured = [one["eval_loss"] for one in history]
        losses.plot(epochs, measured, "s--", color="tab:orange", label="evaluation loss")
        accuracy = losses.twinx()
        shares = [one["accuracy"] for one in history]
        accuracy.plot(epochs, shares, "^-", color="tab:green", label="accuracy")
        accuracy.set_ylabel("Accuracy")
        accuracy.set_ylim(0, 1.02)
        lines = [*losses.get_lines(), *accuracy.get_lines()]
    losses.set_ylim(bottom=0)
    figure.legend(lines, [str(line.get_label()) for line in lines], loc="outside lower center", ncols=3)
    losses.set_title(title)
    _save(figure, path)


def confusion_plot(labels: Sequence[str], matrix: Sequence[Sequence[int]], path: Path) -> None:
    """Shaded by the share of the true label's rows; the numbers are rows."""
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(14.0, 4 + 0.4 * len(labels))
    figure = _figure(side + 1, side)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="Share of the true label's rows")
    if len(labels) <= _MOST_NAMED:
        names = [name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…" for name in labels]
        plain = [name.replace("$", r"\$") for name in names]  # a pair of $ would be taken for a formula
        font: dict[str, Any] = {
            "fontfamily": _families(),
            "fontsize": 10 if len(labels) <= _MOST_NUMBERED else 7,
        }
        axes.set_xticks(range(len(labels)), plain, rotation=45, ha="right", rotation_mode="anchor", **font)
        axes.set_yticks(range(len(labels)), plain, **font)
    if len(labels) <= _MOST_NUMBERED:
        for row, column in np.ndindex(*counts.shape):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color)
    axes.set_xlabel("Predicted label")
    axes.set_ylabel("True label")
    axes.set_title("Confusion")
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing from"
        )  # no font here has it: a box is drawn
        figure.savefig(path, dpi=_DPI)


@cache
def _families() -> list[str]:
    """Fonts in which a label's letters are looked for, one after the other; with Korean ones where there are any."""
    from matplotlib import font_manager

    there = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _KOREAN if name in there)]
