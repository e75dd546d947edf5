"""The events of one job for one reader, from the start or from where one was, to ``done``.

Event ids are the ledger's; the last one, ``done``, has the id of the event before it and ``.done``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson

from callboard_gateway.desk import Desk
from callboard_gateway.event_streams import AWAY, RETRY, STILL_HERE, frame
from callboard_shared.errors import LedgerError
from callboard_shared.ledger import JobRecord
from callboard_shared.ledger.following import PAGE
from callboard_shared.states import JobStatus
from callboard_shared.view import job_view

_START = "0-0"
"""Before the first event of a stream; also the id of the event that says how the job was accepted."""


class JobStream:
    """One reader of one job's events, from the start or after the event with this id."""

    def __init__(self, desk: Desk, record: JobRecord, after: str | None, comment_s: float) -> None:
        self._desk, self._record, self._comment_s = desk, record, comment_s
        self._after, self._from_start = after or _START, after is None
        self._over = False

    async def frames(self) -> AsyncGenerator[bytes]:
        """As server-sent events."""
        yield RETRY
        async with aclosing(self.batches()) as batches:
            async for batch in batches:
                yield batch if isinstance(batch, bytes) else b"".join(frame(*event) for event in batch)

    async def batches(self) -> AsyncGenerator[list[tuple[str, str, bytes]] | bytes]:
        """Id, kind and data (JSON) of the events, as they come; or a comment, ready to be sent, when none came.

        Ends after ``done``; without it when the job is deleted, or the server stops.
        """
        if self._from_start:
            yield [(_START, "status", orjson.dumps({"status": self._first_status(), "attempt": 0}))]
        async with self._desk.news.expect(self._record.id) as bulletin:
            while not self._over and not self._desk.stopping.begun:
                try:
                    events = await self._new()
                except LedgerError:
                    yield AWAY
                    await self._desk.pause(bulletin, 1)
                    continue
                if events:
                    yield events
                elif not self._over and not await self._desk.pause(bulletin, self._comment_s):
                    yield STILL_HERE

    def _first_status(self) -> str:
        """As what the job was accepted; the ledger's stream begins with what happened next."""
        spec = orjson.loads(self._record.spec)
        if spec.get("after"):
            return JobStatus.BLOCKED.value
        scheduled = self._record.status is JobStatus.SCHEDULED and self._record.attempt == 0
        return (JobStatus.SCHEDULED if scheduled else JobStatus.QUEUED).value

    async def _new(self) -> list[tuple[str, str, bytes]]:
        """What is new, with ``done`` if that is the end. If it raises LedgerError, nothing counts as told."""
        queue, job_id = self._record.queue, self._record.id
        told = await self._desk.inquiries.events(queue, job_id, self._after)
        if told is None:  # deleted, or past its retention
            self._over = True
            return []
        events = [(event.id, event.kind, event.data) for event in told.events]
        after = events[-1][0] if events else self._after
        if told.status.is_terminal and len(events) < PAGE:
            record = await self._desk.inquiries.record(queue, job_id)
            if record is not None:
                events.append((f"{after}.done", "done", orjson.dumps(job_view(record))))
            self._over = True
        self._after = after
        return events
