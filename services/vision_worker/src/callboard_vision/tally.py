"""Counts what was followed through a video, and says it in a sentence."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from callboard_shared.jobs.vision import Crossings, Followed, Line
from callboard_vision.labels import counted
from callboard_vision.lines import LineCounter


class Tally:
    def __init__(self, lines: Sequence[Line]) -> None:
        self._labels: dict[int, Counter[str]] = defaultdict(Counter)
        self._lines = [(line.name, LineCounter(line.start, line.end)) for line in lines]

    def see(self, followed: Iterable[Followed]) -> None:
        """The next frame."""
        for one in followed:
            self._labels[one.track_id][one.label] += 1
            for _, line in self._lines:
                line.see(one.track_id, one.box)

    @property
    def counts(self) -> dict[str, int]:
        """Different tracks by label, most first; a track has the label that it had most often."""
        by_label = Counter(labels.most_common(1)[0][0] for labels in self._labels.values())
        return dict(sorted(by_label.items(), key=lambda item: (-item[1], item[0])))

    @property
    def crossings(self) -> list[Crossings]:
        return [Crossings(name=name, forth=line.forth, back=line.back) for name, line in self._lines]

    def summary(self, seconds: float, frames: int) -> str:
        """One or two sentences, for people and language models."""
        counts = self.counts
        total = sum(counts.values())
        many = f"{counted(counts) if counts else 'Nothing'} {'were' if total > 1 else 'was'} followed"
        said = f"{many} through {seconds:.1f} s of video, in {frames:,} frames."
        for line in self.crossings:
            crossed = f"crossed {_times(line.forth)} forth and {_times(line.back)} back"
            said += f" Line {line.name!r} was {crossed if line.forth or line.back else 'not crossed'}."
        return said


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count:,} times")
