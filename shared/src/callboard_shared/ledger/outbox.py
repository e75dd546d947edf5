"""Outboxes: what happened, written in the step that makes it happen, until a courier has made deliveries of it.

Each queue has one. A row whose courier dies is taken over by another; what is made of it has ids that follow from the
row, so that making it twice makes it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from callboard_shared.ids import derived_id
from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call, lua

TAKEOVER_MS = 5_000
"""A courier that did not finish a row for so long has lost it."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """An event. subject: the id of what it happened to, whose prefix says what that is; run: a job's attempt;
    keep_ms: how long its deliveries are to be seen; url: where it is told besides the owner's endpoints."""

    id: str
    queue: str
    event: str
    subject: str
    owner: str
    type: str
    at_ms: int
    run: int
    keep_ms: int
    url: str = ""

    @property
    def message(self) -> str:
        """The event's own id, which receivers see as ``webhook-id``."""
        return derived_id("evt", self.at_ms, self.queue, self.id, self.event, self.subject)


def take_rows(queue: str, courier: str, limit: int = 250) -> Call[list[OutboxRow | str]]:
    """Rows to make deliveries of; of one that cannot be read, its id alone (strike it)."""
    return lua(
        "outbox", [keys.base(queue)], ["take", courier, limit, TAKEOVER_MS],
        lambda reply: [_row(queue, row_id.decode(), flat) for row_id, flat in reply],
    )  # fmt: skip


def strike_rows(queue: str, row_ids: Sequence[str]) -> Call[int]:
    return lua("outbox", [keys.base(queue)], ["done", *row_ids], int)


def subscribe(queue: str, owner: str, revision: int, events: str) -> Call[int]:
    """From now on the queue's outbox tells of these events (comma-separated) of the owner's jobs."""
    return lua("subscribe", [keys.base(queue)], [owner, revision, events], int)


def outbox_length(queue: str) -> Call[int]:
    return Call(("XLEN", keys.of(queue, "outbox")), int)


def oldest_row_ms(queue: str) -> Call[int | None]:
    """When the oldest event happened that is still in the outbox."""

    def parse(reply: Any) -> int | None:
        return int(reply[0][0].decode().partition("-")[0]) if reply else None

    return Call(("XRANGE", keys.of(queue, "outbox"), "-", "+", "COUNT", 1), parse)


def _row(queue: str, row_id: str, flat: Sequence[bytes]) -> OutboxRow | str:
    raw = {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat or ()), 2)}
    try:
        return OutboxRow(
            row_id, queue, raw["event"], raw["subject"], raw["owner"], raw["type"], int(raw["at"]), int(raw["run"]),
            int(raw["keep"]), raw["url"],
        )  # fmt: skip
    except KeyError:
        return row_id
