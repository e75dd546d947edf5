"""What was found in a picture, as the job's output says it: plain values, rounded, and one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from callboard_vision.engines.interface import Findings, Floats, ModelFacts
from callboard_vision.labels import counted, listed, plural

LIKELIEST = 5
"""Labels of a classifying model."""
_LABELS_PLACED, _PLACES = 4, 3
_NAMED = 12
"""Labels that a sentence counts, and says the places of; more are summed up."""
_FILLS = 0.6
_ZONES = (
    ("at the top left", "at the top", "at the top right"),
    ("on the left", "in the centre", "on the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)


def seen_in(findings: Findings, facts: ModelFacts, width: int, height: int) -> dict[str, Any]:
    """The fields of ``Seen``, but for the drawing and warnings."""
    labels = [facts.names[int(number)] for number in findings.class_ids]
    counts = dict(Counter(labels).most_common())
    found: dict[str, Any] = {"detections": _detections(findings, labels, width, height)}
    if findings.probabilities is not None:
        found["classification"] = likeliest(findings.probabilities, facts.names)
        summary = _looks_like(found["classification"], width, height)
    else:
        summary = _sentence(found["detections"], counts, width, height)
    return {**found, "counts": counts, "summary": summary, "width": width, "height": height}


def likeliest(probabilities: Floats, names: Mapping[int, str]) -> list[dict[str, Any]]:
    best = np.argsort(-probabilities, kind="stable")[:LIKELIEST]
    return [
        {"label": names[int(one)], "class_id": int(one), "confidence": round(float(probabilities[one]), 4)}
        for one in best
    ]


def _detections(findings: Findings, labels: Sequence[str], width: int, height: int) -> list[dict[str, Any]]:
    boxes = within(findings.boxes.reshape(-1, 2, 2), width, height).reshape(-1, 4)
    detections: list[dict[str, Any]] = []
    for place, label in enumerate(labels):
        one: dict[str, Any] = {
            "label": label,
            "class_id": int(findings.class_ids[place]),
            "confidence": round(float(findings.confidences[place]), 4),
            "box": _rounded(boxes[place]),
        }
        if findings.corners is not None:
            one["corners"] = _rounded(findings.corners[place])  # of a turned box they may lie outside
        if findings.outlines is not None:
            one["mask"] = [_rounded(within(part, width, height)) for part in findings.outlines[place]]
        if findings.keypoints is not None:
            points = findings.keypoints[place].astype(np.float64)
            points[:, :2] = within(points[:, :2], width, height)
            one["keypoints"] = [[*_rounded(point[:2]), round(float(point[2]), 4)] for point in points]
        detections.append(one)
    return detections


def within(points: Any, width: int, height: int) -> Any:
    """(…, 2) points, none outside the picture."""
    return np.clip(points, 0.0, (width, height))


def _rounded(values: Any) -> Any:
    """Hundredths of a pixel; of float64, so that JSON has no more digits."""
    return np.round(np.asarray(values, np.float64), 2).tolist()


# --- the sentence ---


def _sentence(
    detections: Sequence[Mapping[str, Any]], counts: Mapping[str, int], width: int, height: int
) -> str:
    where = f"in a picture of {width}×{height} pixels"
    if not counts:
        return f"Nothing was found {where}."
    named = dict(list(counts.items())[:_NAMED])
    rest = sum(counts.values()) - sum(named.values())
    many = counted(named) if not rest else f"{counted(named)}, and {rest:,} more things,"
    places = [_placed(label, detections, width, height) for label in list(counts)[:_LABELS_PLACED]]
    return f"{many} {where}: {'; '.join(places)}{'; …' if len(counts) > len(places) else ''}."


def _placed(label: str, detections: Sequence[Mapping[str, Any]], width: int, height: int) -> str:
    """``person on the left and in the centre``; the surest come first."""
    zones = [_zone(one["box"], width, height) for one in detections if one["label"] == label]
    distinct = list(dict.fromkeys(zones))
    shown = distinct[:_PLACES] + (["elsewhere"] if len(distinct) > _PLACES else [])
    name = f"the {label}" if len(zones) == 1 else plural(label)
    return f"{name} {listed(shown)}"


def _zone(box: Sequence[float], width: int, height: int) -> str:
    x1, y1, x2, y2 = box
    if (x2 - x1) * (y2 - y1) > _FILLS * width * height:
        return "filling most of it"
    column = min(2, int(3 * (x1 + x2) / 2 / width))
    row = min(2, int(3 * (y1 + y2) / 2 / height))
    return _ZONES[row][column]


def _looks_like(classification: Sequence[Mapping[str, Any]], width: int, height: int) -> str:
    best, *others = [f"{one['label']} ({one['confidence']:.0%})" for one in classification[:3]]
    rest = f", then {listed(others)}" if others else ""
    return f"A picture of {width}×{height} pixels that looks most like {best}{rest}."
