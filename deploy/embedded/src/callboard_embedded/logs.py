"""Logs of the members: a file each, bounded in size, with the lines that matter shown on the terminal."""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

MAX_BYTES = 5_000_000
LINES_SHOWN = 8
WINDOW_S = 10.0
BAD_LEVEL = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b|\[(warning|error|critical)\s*\]")


def important(line: str) -> str | None:
    """What of a log line belongs on the terminal: warnings and errors, without the fields around them."""
    text = line.strip()
    if text.startswith("{"):
        try:
            entry = json.loads(text)
        except ValueError:
            return None
        if str(entry.get("level", "")).lower() not in ("warning", "error", "critical"):
            return None
        return str(entry.get("event") or entry.get("message") or text)
    return text if BAD_LEVEL.search(text) else None


@dataclass(slots=True)
class Log:
    """Reads what a member appends, and copies the file away when it has grown large."""

    path: Path
    read_to: int = 0
    _rest: str = ""
    _shown: list[float] = field(default_factory=list)
    _held_back: int = 0

    def __post_init__(self) -> None:
        self.read_to = self.path.stat().st_size if self.path.exists() else 0

    def new_lines(self) -> list[str]:
        """Whole lines appended since the last call; rotates when due."""
        if not self.path.exists():
            return []
        size = self.path.stat().st_size
        if size < self.read_to:
            self.read_to = 0
        with self.path.open("rb") as file:
            file.seek(self.read_to)
            text = self._rest + file.read(1_000_000).decode("utf-8", "replace")
            self.read_to = file.tell()
        *lines, self._rest = text.split("\n")
        if self.read_to > MAX_BYTES:
            self._rotate()
        return lines

    def to_show(self) -> list[str]:
        """The important ones of the new lines, at most LINES_SHOWN in WINDOW_S; the rest is counted."""
        shown = []
        now = time.monotonic()
        self._shown = [at for at in self._shown if now - at < WINDOW_S]
        for line in filter(None, map(important, self.new_lines())):
            if len(self._shown) < LINES_SHOWN:
                self._shown.append(now)
                shown.append(line[:300])
            else:
                self._held_back += 1
        if self._held_back and not self._shown:
            shown.append(f"… and {self._held_back} more such lines in {self.path}")
            self._held_back = 0
        return shown

    def last_lines(self, count: int) -> list[str]:
        """The last lines that say something, for telling why a member ended."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - 20_000))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return [line.rstrip()[:300] for line in lines if line.strip()][-count:]

    def _rotate(self) -> None:
        """Members append (O_APPEND), so the file can be emptied under them."""
        shutil.copyfile(self.path, self.path.with_name(self.path.name + ".1"))
        with self.path.open("r+b") as file:
            file.truncate(0)
        self.read_to = 0
