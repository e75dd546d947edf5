"""What workers see around them becomes findings, each with its cure."""

from __future__ import annotations

from typing import Any

import pytest

from callboard_client.cli.doctor import _surroundings


@pytest.mark.parametrize(
    ("facts", "name", "cure"),
    [
        ({"broker": "OperationalError"}, "broker of w", "CALLBOARD_BROKER_URL"),
        ({"store": "not-writable"}, "object store", "CALLBOARD_FILES_DIR"),
        ({"disk_free_bytes": 5}, "disk of w", "enlarge the disk"),
        ({"clock_skew_s": -60.0}, "clock of w", "NTP"),
        ({"ffmpeg": False}, "ffmpeg", "Install ffmpeg"),
    ],
)
def test_what_is_wrong_has_a_cure(facts: dict[str, Any], name: str, cure: str) -> None:
    (check,) = _surroundings("w", facts)
    assert (check.name, check.good) == (name, False) and cure in check.advice


def test_what_is_well_needs_none() -> None:
    facts = {
        "broker": "ok", "store": "ok", "disk_free_bytes": 10**12, "clock_skew_s": 0.1, "ffmpeg": True,
        "providers": {"openai": True},
    }  # fmt: skip
    checks = list(_surroundings("w", facts))
    assert [(check.name, check.good, check.advice) for check in checks] == [
        ("object store", True, ""), ("ffmpeg", True, ""), ("key of openai", True, "")
    ]  # fmt: skip


def test_a_provider_without_a_key_is_no_fault_and_a_gpu_is_told_of() -> None:
    gpu = {"index": 0, "name": "NVIDIA X", "used_bytes": 10**9, "total_bytes": 8 * 10**9}
    key, seen = _surroundings("w", {"providers": {"elevenlabs": False}, "gpus": [gpu]})
    assert key.good is None and "ELEVENLABS_API_KEY" in key.advice
    assert seen.good is None and seen.found == "NVIDIA X, 1.0 of 8.0 GB in use"
