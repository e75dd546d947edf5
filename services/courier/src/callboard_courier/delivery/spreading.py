"""From the rows of the outboxes to deliveries: one for the URL that the job named, one for each endpoint of its
key that asks for the event. Making them twice makes them once, so a courier may die anywhere in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from callboard_shared.errors import LedgerError
from callboard_shared.ledger import AsyncLedger, Call
from callboard_shared.ledger.deliveries import NewDelivery, post, to_endpoint, to_url
from callboard_shared.ledger.endpoints import Endpoint, list_endpoints
from callboard_shared.ledger.outbox import OutboxRow, strike_rows, take_rows
from callboard_shared.webhooks import new_webhook_secret

log = structlog.get_logger(__name__)

_PER_CALL = 250


class Spreader:
    def __init__(self, ledger: AsyncLedger, queues: Sequence[str], name: str) -> None:
        self._ledger, self._queues, self._name = ledger, queues, name

    async def spread(self) -> int:
        """Work on what is in the outboxes now; how many rows there were. Raises LedgerError."""
        takes = [take_rows(queue, self._name) for queue in self._queues]
        taken: dict[str, list[OutboxRow | str]] = dict(
            zip(self._queues, await self._answers(takes), strict=True)
        )
        rows = [row for some in taken.values() for row in some if isinstance(row, OutboxRow)]
        endpoints = await self._endpoints(sorted({row.owner for row in rows}))
        made: list[NewDelivery] = []
        for row in rows:
            try:
                made += destinations(row, endpoints[row.owner])
            except ValueError as error:  # a URL that nobody can read must not hold up the others
                log.error("outbox.unreadable", row=row.id, reason=type(error).__name__)
        for at in range(0, len(made), _PER_CALL):
            await self._ledger.run(post(made[at : at + _PER_CALL], new_webhook_secret()))
        struck = {
            queue: [one if isinstance(one, str) else one.id for one in some] for queue, some in taken.items()
        }
        await self._answers([strike_rows(queue, ids) for queue, ids in struck.items() if ids])
        return sum(len(some) for some in taken.values())

    async def _endpoints(self, owners: Sequence[str]) -> dict[str, Sequence[Endpoint]]:
        found = await self._answers([list_endpoints(owner) for owner in owners])
        return {owner: one.all for owner, one in zip(owners, found, strict=True)}

    async def _answers(self, calls: Sequence[Call[Any]]) -> list[Any]:
        answers = await self._ledger.run_many(calls) if calls else []
        for answer in answers:
            if isinstance(answer, LedgerError):
                raise answer
        return answers


def destinations(row: OutboxRow, endpoints: Sequence[Endpoint]) -> list[NewDelivery]:
    found = [to_url(row)] if row.url else []
    return found + [to_endpoint(row, one.id, one.url) for one in endpoints if row.event in one.told]
