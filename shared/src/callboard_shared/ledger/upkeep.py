"""Upkeep of the ledger: who sweeps, whom to tell of what ended, and how full it is."""

from __future__ import annotations

from typing import Any

from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call, lua


def hold_sweep_lock(name: str, ttl_ms: int) -> Call[bool]:
    """Take or keep the sweep's lock; False while another holds it."""
    return lua("lock", [keys.SWEEP_LOCK], [name, ttl_ms], bool)


def settlements(queue: str, limit: int = 500) -> Call[list[str]]:
    """Rows of the settlements to make, as ``verbs.sweep`` gives them."""
    key = keys.of(queue, "settle")
    return Call(("SRANDMEMBER", key, limit), lambda reply: [row.decode() for row in reply])


def ledger_time() -> Call[int]:
    """Milliseconds by the ledger's clock."""
    return Call(("TIME",), lambda reply: int(reply[0]) * 1000 + int(reply[1]) // 1000)


def memory_used() -> Call[float]:
    """The share of Redis' ``maxmemory`` that is in use; 0 when there is no such limit."""

    def parse(reply: Any) -> float:
        facts = reply if isinstance(reply, dict) else _facts(reply.decode())
        limit = int(facts.get("maxmemory", 0))
        return int(facts["used_memory"]) / limit if limit else 0.0

    return Call(("INFO", "memory"), parse)


def _facts(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
