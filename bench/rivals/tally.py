"""A count of runs over several processes that costs a no-op nothing: a byte appended to a file.

``BENCH_TALLY`` names the file; its size is the count (``O_APPEND`` makes each write one step).
"""

from __future__ import annotations

import os

_file = os.open(os.environ["BENCH_TALLY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def count_one() -> None:
    """Add one; about a microsecond."""
    os.write(_file, b".")
