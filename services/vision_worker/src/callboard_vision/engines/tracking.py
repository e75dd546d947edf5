"""Follows findings from frame to frame: ByteTrack (https://arxiv.org/abs/2110.06864) and BoT-SORT
(https://arxiv.org/abs/2206.14651) of ultralytics, fed with the findings of any detector. BoT-SORT also measures how the
camera moved; neither compares how things look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from callboard_shared.jobs.vision.track import Tracker as Kind
from callboard_vision.engines.interface import Findings, Floats, Pixels
from callboard_vision.engines.quiet_ultralytics import ultralytics

WEAK = 0.4
"""Of the confidence that a thing must have: with so much it may still go on a track."""
_REMEMBERED_S = 1.0
"""For so long a track that was lost is taken up again…"""
_REMEMBERED_FRAMES = 5
"""… and at least so many frames."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """``track_id`` counts from 1; ``index``: of the finding in its frame."""

    track_id: int
    index: int


class Tracker:
    """``confidence``: what a thing must have to be followed; ``rate``: frames a second that it is given; ``cache``:
    where ultralytics may write."""

    def __init__(self, kind: Kind, confidence: float, rate: float, *, cache: Path) -> None:
        ultralytics(cache)
        from ultralytics.trackers.bot_sort import BOTSORT
        from ultralytics.trackers.byte_tracker import BYTETracker
        from ultralytics.utils import IterableSimpleNamespace

        arguments = IterableSimpleNamespace(
            track_high_thresh=confidence, track_low_thresh=WEAK * confidence, new_track_thresh=confidence,
            track_buffer=max(_REMEMBERED_FRAMES, round(_REMEMBERED_S * rate)), match_thresh=0.8, fuse_score=True,
            gmc_method="sparseOptFlow", proximity_thresh=0.5, appearance_thresh=0.8, with_reid=False,
        )  # fmt: skip
        self._tracker: Any = {"bytetrack": BYTETracker, "botsort": BOTSORT}[kind](arguments)

    def update(self, found: Findings, picture: Pixels) -> list[Sighting]:
        """Of the next frame: which findings are of which track. A thing that appears later than in the first frame is
        told from its second sighting on, since most false findings have none."""
        boxes = _Boxes(found.boxes, found.confidences, found.class_ids)
        rows: npt.NDArray[np.float32] = self._tracker.update(boxes, picture)
        return [Sighting(int(row[4]), int(row[7])) for row in rows.tolist()]


@dataclass(frozen=True, slots=True)
class _Boxes:
    """As much of ultralytics' ``Boxes`` as its trackers ask for."""

    xyxy: Floats
    conf: Floats
    cls: npt.NDArray[Any]

    @property
    def xywh(self) -> Floats:
        """Centre, width, height."""
        corner, other = self.xyxy[:, :2], self.xyxy[:, 2:]
        return np.concatenate([(corner + other) / 2, other - corner], axis=1)

    def __getitem__(self, chosen: Any) -> _Boxes:
        return _Boxes(self.xyxy[chosen], self.conf[chosen], self.cls[chosen])

    def __len__(self) -> int:
        return len(self.conf)
