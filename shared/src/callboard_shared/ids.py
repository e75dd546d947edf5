"""Identifiers: a prefix, an underscore, and a UUIDv7 in 26 characters of Crockford's base 32.

They are opaque to clients, sort by the time they were made, and are short enough to be members
of sorted sets by the million. The form is that of TypeID 0.3 (https://github.com/jetify-com/typeid);
the UUID is RFC 9562, version 7.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]
PATTERN = re.compile(r"^[a-z]{2,8}_[0-7][0-9a-hjkmnp-tv-z]{25}\Z")


_lock = threading.Lock()
_last = 0


def _tick() -> int:
    """Time in 1/4096 ms (48 bits of milliseconds, 12 below), never the same twice in this process, so that
    ids made one after another also sort one after another."""
    global _last
    with _lock:
        _last = max(time.time_ns() * 4096 // 1_000_000, _last + 1)
        return _last


def new_id(prefix: str) -> str:
    """A new id, for example ``job_01k9x3…``; ``prefix`` names the kind of thing."""
    tick = _tick()
    uuid = (tick >> 12) << 80 | 0x7 << 76 | (tick & 0xFFF) << 64
    uuid |= 0b10 << 62 | int.from_bytes(os.urandom(8), "big") >> 2
    pairs = [_PAIRS[uuid >> shift & 1023] for shift in range(120, -1, -10)]
    return f"{prefix}_{''.join(pairs)}"


def derived_id(prefix: str, ms: int, *parts: str) -> str:
    """The id of something that may be made again: always the same for the same parts, sorted by ``ms`` as others
    are."""
    random = int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:10], "big")
    pairs = [_PAIRS[(ms << 80 | random) >> shift & 1023] for shift in range(120, -1, -10)]
    return f"{prefix}_{''.join(pairs)}"


def is_id(text: str, prefix: str) -> bool:
    """Whether ``text`` has the form of an id of this kind (it may still name nothing)."""
    return text.startswith(prefix + "_") and PATTERN.match(text) is not None


def member_id(batch_id: str, index: int) -> str:
    """The id of job ``index`` (below 2^20) of a batch: the same each time, in the order of the batch."""
    number = int.from_bytes(hashlib.sha256(f"{batch_id} {index}".encode()).digest()[:8], "big")
    pairs = [_PAIRS[number >> shift & 1023] for shift in (0, 10, 20, 30, 40, 50)]
    return f"job_{batch_id[6:16]}{_PAIRS[index >> 10 & 1023]}{_PAIRS[index & 1023]}{''.join(pairs)}"
