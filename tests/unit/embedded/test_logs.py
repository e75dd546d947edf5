"""What of a member's log is shown, and that the log stays bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from callboard_embedded import logs
from callboard_embedded.logs import Log, important


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"level": "error", "event": "the model is missing", "x": 1}', "the model is missing"),
        ('{"level": "info", "event": "an ERROR was avoided"}', None),
        (
            "[2026-11-22 21:00:00,1: WARNING/MainProcess] slow",
            "[2026-11-22 21:00:00,1: WARNING/MainProcess] slow",
        ),
        ("2026-11-22T21:00:00Z [error    ] no such queue", "2026-11-22T21:00:00Z [error    ] no such queue"),
        ("all is well", None),
        ("", None),
    ],
)
def test_warnings_and_errors_are_shown_and_the_rest_is_not(line: str, shown: str | None) -> None:
    assert important(line) == shown


def test_lines_are_read_once_and_only_when_they_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "member.log"
    path.write_text("from an earlier run\n")
    log = Log(path)
    with path.open("a") as file:
        file.write("one\ntw")
    assert log.new_lines() == ["one"]
    with path.open("a") as file:
        file.write("o\n")
    assert log.new_lines() == ["two"]
    assert log.new_lines() == []


def test_a_flood_of_errors_is_counted_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "member.log"
    log = Log(path)
    path.write_text("ERROR again\n" * 100)
    assert len(log.to_show()) == logs.LINES_SHOWN


def test_a_large_log_is_moved_aside_while_its_writer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 100)
    path = tmp_path / "member.log"
    log = Log(path)
    with path.open("ab", buffering=0) as writer:
        writer.write(b"x" * 150 + b"\n")
        log.new_lines()
        writer.write(b"after\n")
        assert log.new_lines() == ["after"]
    assert path.stat().st_size == len("after\n")
    assert path.with_name("member.log.1").stat().st_size == 151
