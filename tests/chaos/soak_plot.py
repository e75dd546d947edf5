"""The picture of a soak: memory, file handles, keys and latencies over time."""

from __future__ import annotations

from pathlib import Path

from flatness import thinned
from sampling import Series

MOST_POINTS = 300
PANELS = {
    "memory (MB, proportional set size)": "memory ",
    "file handles": "handles ",
    "keys in the ledger": "keys",
    "submission to end (ms)": "p",
}


def draw(series: Series, caption: str, path: Path) -> None:
    """An SVG, thinned so that an hour takes no more room than a quarter."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams.update({"svg.fonttype": "none", "font.size": 9, "svg.hashsalt": "soak"})
    figure, axes = plt.subplots(2, 2, figsize=(11, 6.2), layout="constrained")
    for axis, (title, prefix) in zip(axes.flat, PANELS.items(), strict=True):
        for name in sorted(name for name in series.values if name.startswith(prefix)):
            points = thinned(*series.of(name, 0), MOST_POINTS)
            label = name.removeprefix(prefix) if prefix.endswith(" ") else name
            axis.plot([at / 60 for at, _ in points], [value for _, value in points], label=label, linewidth=1)
        axis.set_title(title, loc="left")
        axis.set_xlabel("minutes")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, ncols=4)
        if prefix == "p":
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
    figure.suptitle(caption, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
