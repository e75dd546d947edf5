"""A stack as a child process: for `make demo`, the bench, and tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from callboard_embedded.folder import Folder
from callboard_embedded.ports import free_port
from callboard_embedded.processes import dies_with_parent
from callboard_embedded.settings import stack_environment

POLL_S = 0.05
STOP_S = 25.0


class StackFailed(Exception):
    """The stack did not become ready; the message carries the end of what it said."""


class Stack:
    """`python -m callboard_embedded run` with a folder and a port of its own; ends when this process does.

    home: its folder; kept when it stops. env: further settings. output: a file for what it prints, or None to
    print it here. Attributes: url, key (after `start`), home, pid.
    """

    def __init__(
        self,
        home: Path,
        port: int | None = None,
        *,
        env: Mapping[str, str] | None = None,
        output: Path | None = None,
        ready_s: float = 180,
    ) -> None:
        self.home = home.absolute()
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._env = stack_environment(self.home, self.port, env or {})
        self._output = output
        self._ready_s = ready_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def key(self) -> str:
        """The admin key."""
        return Folder(self.home).api_key.read_text().strip()

    @property
    def pid(self) -> int:
        """The supervisor's."""
        if self._process is None:
            raise StackFailed("the stack has not been started")
        return self._process.pid

    def start(self) -> Self:
        """Starts it and waits until every worker is online. Raises StackFailed."""
        output: IO[bytes] | None = self._output.open("ab") if self._output else None
        ready = Folder(self.home).ready
        ready.unlink(missing_ok=True)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "callboard_embedded", "run", "--no-greeting"],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                start_new_session=True,
                preexec_fn=dies_with_parent(),  # noqa: PLW1509 – calls prctl and nothing else
            )
        finally:
            if output:
                output.close()
        try:
            self._await_ready(ready)
        except BaseException:
            self.stop()
            raise
        return self

    def _await_ready(self, ready: Path) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self._ready_s
        while not ready.exists():
            if self._process.poll() is not None:
                raise StackFailed(
                    f"the stack ended with code {self._process.returncode}.{self._last_words()}"
                )
            if time.monotonic() > deadline:
                raise StackFailed(f"the stack was not ready after {self._ready_s:.0f} s.{self._last_words()}")
            time.sleep(POLL_S)

    def stop(self) -> int:
        """Ends it as Ctrl-C would. Returns its exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # its guard ends the members
            return self._process.wait()

    def _last_words(self) -> str:
        if self._output is None or not self._output.exists():
            return ""
        lines = self._output.read_text(errors="replace").splitlines()[-15:]
        return "\n".join(["", *lines])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
