"""Upkeep of the ledger as a whole: who sweeps."""

from __future__ import annotations

from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call, lua


def hold_sweep_lock(name: str, ttl_ms: int) -> Call[bool]:
    """Take or keep the sweep's lock; False while another holds it."""
    return lua("lock", [keys.SWEEP_LOCK], [name, ttl_ms], bool)
