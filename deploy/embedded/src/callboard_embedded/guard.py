"""Ends what is left of a stack whose supervisor was killed.

The supervisor holds the other end of this process's standard input. When that closes without a word, the
supervisor is gone without having stopped its members (SIGKILL, out of memory): the guard ends them in the right
order, the ledger last, so that nothing goes on unseen. It is in a session of its own, out of reach of Ctrl-C.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from callboard_embedded.processes import end_recorded

NAME = "guard"
ALL_IS_WELL = b"."
GRACE_S = 6.0


def main(folder: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read(1) == ALL_IS_WELL:
        return
    end_recorded(folder, GRACE_S, besides=(NAME,))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
