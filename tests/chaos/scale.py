"""How long the chaos is, and from which seed: ``CALLBOARD_CHAOS`` is ``short`` (CI) or ``full`` (``make chaos``)."""

from __future__ import annotations

import os
import random
from typing import TypeVar

T = TypeVar("T")

FULL = os.environ.get("CALLBOARD_CHAOS", "short") == "full"
SEED = int(os.environ.get("CALLBOARD_CHAOS_SEED") or random.randrange(1_000_000))
LEASE_S = 3.0
HEARTBEAT_S = 1.0


def pick(short: T, full: T) -> T:
    """One of the two, by the scale of this run."""
    return full if FULL else short


def dice(name: str) -> random.Random:
    """The moments of one test: the same for the same seed, whatever other tests ran before it."""
    return random.Random(f"{SEED} {name}")
