"""What workers see around them becomes findings, each with its cure."""

from __future__ import annotations

from typing import Any

import pytest

from callboard_client import Readiness, Worker, __version__
from callboard_client.cli.doctor import Check, _other_releases, _releases, _surroundings


@pytest.mark.parametrize(
    ("facts", "name", "cure"),
    [
        ({"broker": "OperationalError"}, "broker of w", "CALLBOARD_BROKER_URL"),
        ({"broker": "ok", "bells": "silent"}, "bells of w", "Restart it"),
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


def of_gateway(version: str = __version__, layout: int | None = 1, newest: int | None = 1) -> list[Check]:
    return list(_releases(Readiness(version=version, ledger_layout=layout, newest_layout=newest)))


def test_one_release_and_its_layout_are_well() -> None:
    release, layout = of_gateway()
    assert (release.good, release.advice) == (True, "") and __version__ in release.found
    assert (layout.good, layout.advice) == (True, "")


def test_a_client_of_another_release_is_told_which_one_to_take() -> None:
    release, _ = of_gateway(version="9.9.9")
    assert release.good is None and "pip install callboard-client==9.9.9" in release.advice


@pytest.mark.parametrize(
    ("layout", "newest", "found", "cure"),
    [
        (2, 1, "2, and the gateway knows up to 1", "Bring this gateway to that release"),
        (1, 2, "1, and the gateway's is 2", "migrates the ledger when it starts"),
        (None, 1, "no number is written", "Restart the gateway"),
    ],
)
def test_a_layout_that_is_not_the_gateways_has_a_cure(
    layout: int | None, newest: int, found: str, cure: str
) -> None:
    _, check = of_gateway(layout=layout, newest=newest)
    assert check.good is False and found in check.found and cure in check.advice


def test_a_gateway_from_before_it_said_its_release_is_no_fault() -> None:
    (release,) = of_gateway(version="", layout=None, newest=None)
    assert release.good is None and "older" in release.found


def test_a_worker_of_another_release_than_the_gateways_is_told_of() -> None:
    workers = [Worker(id=name, facts={"version": name[1:]}) for name in ("w1.0.0", "w1.1.0")]
    workers.append(Worker(id="mute", facts={}))
    (check,) = _other_releases("1.1.0", workers)
    assert (check.name, check.good) == ("release of w1.0.0", None)
    assert (
        check.found == "1.0.0, and the gateway's is 1.1.0" and "docker compose up -d --build" in check.advice
    )
