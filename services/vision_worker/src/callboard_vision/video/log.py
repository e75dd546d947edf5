"""The frames of an output, kept on disk while they come: a long video has more of them than fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from callboard_shared.worker import Context

_PIECE = 1024 * 1024


class FrameLog:
    """Writes a JSON list, an entry at a time."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self.count = 0

    def add(self, entry: dict[str, Any]) -> None:
        self._file.write((b",\n" if self.count else b"[") + orjson.dumps(entry))
        self.count += 1

    def result(self, context: Context, room: int) -> list[dict[str, Any]] | dict[str, Any]:
        """The list if it has at most ``room`` bytes, else the reference of a file with it. Call it once."""
        self._file.write(b"]" if self.count else b"[]")
        size = self._file.tell()
        self._file.seek(0)
        if size <= room:
            entries: list[dict[str, Any]] = orjson.loads(self._file.read())
            return entries
        return context.put_file("frames.json", self._pieces(), "application/json").reference()

    def _pieces(self) -> Iterator[bytes]:
        while piece := self._file.read(_PIECE):
            yield piece

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
