"""Bringing a file's content onto the disk over broken connections, without network I/O."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from callboard_client import _calls as calls
from callboard_client._models import File
from callboard_client._retries import Retries, connection_failed, pause_or_raise
from callboard_client._wire import Request


class Landing:
    """One download: collects in ``NAME.part`` beside the target, which it replaces when all is there.

    ``pause_s`` is how long to wait before `request` is sent again.
    """

    def __init__(self, file: File | str, path: Path, retries: Retries) -> None:
        self.path = path
        self.done = False
        self.pause_s = 0.0
        self._file = file
        self._retries = retries
        self._tries = 0
        self._part = path.with_name(path.name + ".part")

    def __enter__(self) -> Self:
        self._out = self._part.open("wb")
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._out.close()
        with suppress(FileNotFoundError):
            self._part.unlink()

    def request(self) -> Request:
        return calls.file_content(self._file, start=self._out.tell())

    def begin(self, response: httpx.Response) -> bool:
        """Whether the content follows; a refusal (its body already read) is raised, or noted for a retry."""
        self.pause_s = 0.0
        if response.status_code == httpx.codes.OK:
            self._out.seek(0)  # the whole again, also where only the rest was asked for
            self._out.truncate()
            return True
        if response.is_success:
            return True
        self._tries += 1
        self.pause_s = pause_or_raise(response, self._retries, self._tries)
        return False

    def write(self, chunk: bytes) -> None:
        self._tries = 0
        self._out.write(chunk)

    def finish(self) -> None:
        self._out.close()
        self._part.replace(self.path)
        self.done = True

    def broke(self, error: httpx.TransportError) -> None:
        self._tries += 1
        pause = self._retries.pause(self._tries)
        if pause is None:
            raise connection_failed(error, self._tries) from error
        self.pause_s = pause
