"""Batches, for both clients."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callboard_client import _batch_calls as calls
from callboard_client import _flows
from callboard_client._batch_calls import Jobs
from callboard_client._drivers import AsyncWire, SyncWire
from callboard_client._models import Batch, BatchResult, File
from callboard_client._paging import Pages

if TYPE_CHECKING:
    from callboard_client._async import AsyncFiles
    from callboard_client._sync import Files


class Batches:
    """``callboard.batches``"""

    def __init__(self, wire: SyncWire, files: Files) -> None:
        self._wire, self._files = wire, files

    def create(
        self,
        jobs: Jobs,
        *,
        webhook: str | Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """Upload jobs and have them run: the path of a JSONL file, a file that was uploaded, or jobs one after another,
        as `NewJob` or as JSON would have them (then also with ``custom_id``). Comes back at once."""
        file = jobs if isinstance(jobs, File) else self._upload(jobs)
        return self._wire.send(calls.submission(file, webhook, metadata, idempotency_key))

    def _upload(self, jobs: Jobs) -> File:
        with calls.opened(jobs) as (content, name):
            return self._files.upload(content, name=name, purpose=calls.PURPOSE)

    def get(self, batch: Batch | str) -> Batch:
        """With its counts as they are now."""
        return self._wire.send(calls.get(batch))

    def list(self, *, limit: int | None = None) -> Iterator[Batch]:
        """Batches of this key, newest first, page after page."""
        return self._wire.walk(Pages(calls.list_page, limit))

    def wait(self, batch: Batch | str, wait_s: float | None = None) -> Batch:
        """The batch once it has ended, however it ended; ``WaitTimeout`` after ``wait_s`` seconds."""
        return self._wire.drive(_flows.wait_for_batch(batch, wait_s, self._wire.retries))

    def results(self, batch: Batch | str, wait_s: float | None = None) -> Iterator[BatchResult]:
        """What became of each line, in order, once the batch has ended; the lines are not all in memory."""
        ended = self.wait(batch, wait_s)
        if ended.output_file is None:
            return
        with tempfile.TemporaryDirectory() as folder:
            where = self._files.download(ended.output_file.file_id, Path(folder, "output.jsonl"))
            with where.open("rb") as lines:
                yield from calls.results_in(lines)

    def cancel(self, batch: Batch | str) -> Batch:
        """Cancels what of it has not ended; ``Conflict`` if all has."""
        return self._wire.send(calls.cancel(batch))

    def retry(self, batch: Batch | str, *, idempotency_key: str | None = None) -> Batch:
        """A new batch of those lines of an ended one whose jobs failed, expired or were canceled; ``Conflict`` if there
        are none. ``Idempotency-Key`` (made up if not given) goes with every try."""
        return self._wire.send(calls.retry(batch, idempotency_key))

    def delete(self, batch: Batch | str) -> None:
        """Removes an ended batch with its output and errors files; ``Conflict`` if it has not ended."""
        self._wire.send(calls.delete(batch))


class AsyncBatches:
    """``callboard.batches``"""

    def __init__(self, wire: AsyncWire, files: AsyncFiles) -> None:
        self._wire, self._files = wire, files

    async def create(
        self,
        jobs: Jobs,
        *,
        webhook: str | Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """Upload jobs and have them run: the path of a JSONL file, a file that was uploaded, or jobs one after another,
        as `NewJob` or as JSON would have them (then also with ``custom_id``). Comes back at once."""
        file = jobs if isinstance(jobs, File) else await self._upload(jobs)
        return await self._wire.send(calls.submission(file, webhook, metadata, idempotency_key))

    async def _upload(self, jobs: Jobs) -> File:
        with calls.opened(jobs) as (content, name):
            return await self._files.upload(content, name=name, purpose=calls.PURPOSE)

    async def get(self, batch: Batch | str) -> Batch:
        """With its counts as they are now."""
        return await self._wire.send(calls.get(batch))

    def list(self, *, limit: int | None = None) -> AsyncIterator[Batch]:
        """Batches of this key, newest first, page after page."""
        return self._wire.walk(Pages(calls.list_page, limit))

    async def wait(self, batch: Batch | str, wait_s: float | None = None) -> Batch:
        """The batch once it has ended, however it ended; ``WaitTimeout`` after ``wait_s`` seconds."""
        return await self._wire.drive(_flows.wait_for_batch(batch, wait_s, self._wire.retries))

    async def results(self, batch: Batch | str, wait_s: float | None = None) -> AsyncIterator[BatchResult]:
        """What became of each line, in order, once the batch has ended; the lines are not all in memory."""
        ended = await self.wait(batch, wait_s)
        if ended.output_file is None:
            return
        with tempfile.TemporaryDirectory() as folder:
            where = await self._files.download(ended.output_file.file_id, Path(folder, "output.jsonl"))
            with where.open("rb") as lines:
                for result in calls.results_in(lines):
                    yield result

    async def cancel(self, batch: Batch | str) -> Batch:
        """Cancels what of it has not ended; ``Conflict`` if all has."""
        return await self._wire.send(calls.cancel(batch))

    async def retry(self, batch: Batch | str, *, idempotency_key: str | None = None) -> Batch:
        """A new batch of those lines of an ended one whose jobs failed, expired or were canceled; ``Conflict`` if there
        are none. ``Idempotency-Key`` (made up if not given) goes with every try."""
        return await self._wire.send(calls.retry(batch, idempotency_key))

    async def delete(self, batch: Batch | str) -> None:
        """Removes an ended batch with its output and errors files; ``Conflict`` if it has not ended."""
        await self._wire.send(calls.delete(batch))
