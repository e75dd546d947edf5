"""What the gateway does with batches, below HTTP: accept, find, wait, cancel, retry, delete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from callboard_gateway.batch_submission import BatchReader, new_batch
from callboard_gateway.cursors import Position
from callboard_gateway.desk import QUEUES_WITH_JOBS, DeleteFile, Desk
from callboard_gateway.wholes import WholeDesk
from callboard_shared.batches.view import batch_view
from callboard_shared.errors import Conflict, Invalid, LedgerError, NotFound
from callboard_shared.ids import is_id
from callboard_shared.ledger import Call, batching, filing
from callboard_shared.ledger.batching import BatchRecord, NewBatch, Tally

GONE = "There is no such batch. It may have been deleted, or be past its retention."
PER_CALL = 100
"""Records that one step of the ledger reads."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch's record, and the tally of its jobs as long as it has not ended."""

    record: BatchRecord
    tally: Tally

    @property
    def ended(self) -> bool:
        return self.record.status is not None

    def view(self) -> dict[str, Any]:
        return batch_view(self.record, self.tally)


class BatchDesk(WholeDesk[NewBatch, Batch]):
    """``most``: batches that one key may have that have not ended."""

    def __init__(self, desk: Desk, reader: BatchReader, *, most: int, delete_file: DeleteFile) -> None:
        self.desk, self.reader = desk, reader
        self._ledger, self._most, self._delete_file = desk.ledger, most, delete_file

    # --- accepting ------------------------------------------------------------------------------------------

    def read(self, document: Any, owner: str, traceparent: str | None, batch_id: str | None) -> NewBatch:
        return self.reader.read(document, owner, traceparent, batch_id)

    async def submit(self, batch: NewBatch, watcher: str = "", field: str = "file_id") -> Batch:
        """Accept a batch. Raises LimitReached, LedgerError, or Invalid, naming ``field``, for want of its file."""
        await self._check_file(batch, field)
        await self._ledger.run(batching.put(batch, self._most, watcher))
        return await self.find(batch.owner, batch.id)

    async def _check_file(self, batch: NewBatch, field: str) -> None:
        file_id = batch.spec.file_id
        record = await self._ledger.run(filing.get_file(file_id)) if is_id(file_id, "file") else None
        if record is None or record.owner != batch.owner:
            message = "there is no such file; upload it with POST /v1/files and give the id that it gets"
            fault = {"field": field, "message": message, "code": "unknown-file"}
            raise Invalid(f"{field}: {message}.", code="unknown-file", errors=[fault])

    # --- reading --------------------------------------------------------------------------------------------

    async def _record(self, owner: str, batch_id: str) -> BatchRecord:
        record = await self._ledger.run(batching.find(batch_id)) if is_id(batch_id, "batch") else None
        if record is None or record.owner != owner:
            raise NotFound(GONE)
        return record

    async def _counted(self, records: Sequence[BatchRecord]) -> list[Batch]:
        """With their tallies, in one round trip."""
        live = [record.id for record in records if record.status is None]
        calls = [call for one in live for call in batching.tallies(one, QUEUES_WITH_JOBS)]
        answers = await self._ledger.run_many(calls) if calls else []
        for answer in answers:
            if isinstance(answer, LedgerError):
                raise answer
        per = len(QUEUES_WITH_JOBS)
        found = {one: batching.summed(answers[at * per : (at + 1) * per]) for at, one in enumerate(live)}
        return [Batch(record, found.get(record.id, Tally())) for record in records]

    async def find(self, owner: str, batch_id: str) -> Batch:
        """The owner's batch. Raises NotFound, also for another owner's."""
        (batch,) = await self._counted([await self._record(owner, batch_id)])
        return batch

    async def page(
        self, owner: str, limit: int, before: Position | None, keep: Callable[[BatchRecord], bool] = bool
    ) -> tuple[list[Batch], Position | None]:
        """An owner's, newest first, and where the next page begins."""
        found: list[BatchRecord] = []
        offset, newest = 0, None if before is None else before[0]
        while True:
            rows = await self._ledger.run(batching.owned(owner, newest, PER_CALL, offset))
            ids = [one for one, made in rows if before is None or (made, one) < before]
            for record in await self._ledger.run(batching.find_many(ids)):
                if record is None or not keep(record):
                    continue
                if len(found) == limit:
                    return await self._counted(found), (found[-1].created_ms, found[-1].id)
                found.append(record)
            offset += len(rows)
            if len(rows) < PER_CALL:
                return await self._counted(found), None

    def _watch(self, batch_id: str, watcher: str) -> Call[bool]:
        return batching.watch(batch_id, watcher)

    # --- changing -------------------------------------------------------------------------------------------

    async def cancel(self, owner: str, batch_id: str) -> Batch:
        """Have the courier cancel what has not ended. Raises Conflict if all had."""
        await self._record(owner, batch_id)
        outcome = await self._ledger.run(batching.cancel(batch_id))
        batch = await self.find(owner, batch_id)
        if outcome == "already-ended":
            raise Conflict(f"The batch has already ended: it is {batch.record.status}.", code="already-ended")
        return batch

    async def retry(self, owner: str, batch_id: str, key: str | None = None) -> tuple[Batch, bool]:
        """A new batch of those lines of an ended one whose jobs failed, expired or were canceled, and whether an
        earlier request with this idempotency key has made it."""
        old = await self._record(owner, batch_id)
        if old.status is None:
            raise Conflict("The batch has not ended; only one that has can be retried.", code="unfinished")
        lines = await self._ledger.run(batching.lines_to_run_again(batch_id))
        if not lines:
            raise Conflict(
                "No line of the batch can be run again: none failed or was canceled.", code="nothing-to-retry"
            )
        spec = replace(old.spec, lines=lines, retried_from=old.id)
        new = new_batch(owner, spec, old.retention_ms)
        replay = (
            None if key is None else await self.desk.reserve(owner, key, f"retry {batch_id}".encode(), new.id)
        )
        if replay is None:
            return await self.submit(new), False
        try:
            return await self.find(owner, replay.job_id), True
        except NotFound:  # reserved, but never accepted: the first request was cut off in between
            return await self.submit(replace(new, id=replay.job_id)), True

    async def delete(self, owner: str, batch_id: str) -> None:
        """Forget an ended batch and its files. Its jobs stay as long as they say themselves."""
        record = await self._record(owner, batch_id)
        if not await self._ledger.run(batching.remove(batch_id, owner)):
            raise Conflict("The batch has not ended; cancel it first, then delete it.", code="unfinished")
        for reference in record.results.values():
            await self._delete_file(reference["file_id"], owner)
