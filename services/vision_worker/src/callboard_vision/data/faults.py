"""What is wrong with a data set, gathered so that it can be mended at once."""

from __future__ import annotations

from typing import Any

from callboard_shared.errors import FinalError

MOST = 50
_LONGEST_NAME = 300


class Faults:
    """``most``: so many are gathered; then, or when ``check`` is called, they are raised together."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._found: list[dict[str, Any]] = []

    def add(self, message: str, file: str | None = None, line: int | None = None) -> None:
        """``file``: its path in the zip; ``line`` from 1. Raises FinalError once there are enough."""
        fault: dict[str, Any] = {"field": "input.dataset", "code": "dataset-invalid", "message": message}
        if file is not None:
            fault["file"] = file[:_LONGEST_NAME]
        if line is not None:
            fault["line"] = line
        self._found.append(fault)
        if len(self._found) >= self._most:
            self.check()

    def check(self) -> None:
        """Raises FinalError ``dataset-invalid`` if there are any."""
        if not self._found:
            return
        first, others = self._found[0], len(self._found) - 1
        place = first.get("file", "")
        if "line" in first:
            place += f", line {first['line']}"
        more = f" {others} more: see errors." if others else ""
        stopped = " The check stopped there." if len(self._found) >= self._most else ""
        raise FinalError(
            f"The data set cannot be used. {place + ': ' if place else ''}{first['message']}{more}{stopped}",
            code="dataset-invalid",
            errors=self._found,
        )
