"""`make stop`: ends a stack from another terminal."""

from __future__ import annotations

import os
import signal
import time

from callboard_embedded import terminal
from callboard_embedded.folder import Folder, holder
from callboard_embedded.processes import end_recorded
from callboard_embedded.settings import EmbeddedSettings

WAIT_S = 25.0
GRACE_S = 5.0


def stop() -> int:
    """Ends the supervisor that holds the folder, or what a killed one left. Returns the exit code."""
    folder = Folder(EmbeddedSettings().home_path)
    pid = holder(folder)
    if pid is None:
        left = end_recorded(folder.run, GRACE_S) if folder.run.is_dir() else []
        terminal.line(f"Ended {', '.join(left)}." if left else f"No stack runs on {folder.home}.")
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + WAIT_S
    while holder(folder) == pid:
        if time.monotonic() > deadline:
            terminal.line(f"The stack (pid {pid}) has not ended after {WAIT_S:.0f} s.")
            return 1
        time.sleep(0.1)
    terminal.line("Ended.")
    return 0
