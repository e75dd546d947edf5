"""Inboxes of the embedded stack: the last webhooks that came under a name, kept for an hour."""

from __future__ import annotations

from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call, lua

MOST_ENTRIES = 20
MOST_INBOXES = 50
KEPT_MS = 3_600_000


def put_in_inbox(name: str, owner: str, entry: bytes) -> Call[int]:
    """``owner``: the key whose secret signed it, or empty. The least recent name makes room for the fifty-first."""
    args = ["put", name, owner.encode() + b" " + entry, MOST_ENTRIES, MOST_INBOXES, KEPT_MS]
    return lua("inbox", [keys.HOOKS], args, int)


def list_inbox(name: str) -> Call[list[tuple[str, bytes]]]:
    """(owner, entry), newest first."""

    def parse(reply: list[bytes]) -> list[tuple[str, bytes]]:
        rows = [row.partition(b" ") for row in reply]
        return [(owner.decode(), entry) for owner, _, entry in rows]

    return lua("inbox", [keys.HOOKS], ["list", name], parse)
