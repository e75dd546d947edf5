"""Pipelines, for both clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from callboard_client import _flows
from callboard_client import _pipeline_calls as calls
from callboard_client._drivers import AsyncWire, SyncWire
from callboard_client._models import Pipeline
from callboard_client._paging import Pages
from callboard_client._pipeline_calls import Steps


class Pipelines:
    """``callboard.pipelines``"""

    def __init__(self, wire: SyncWire) -> None:
        self._wire = wire

    def create(
        self,
        steps: Steps,
        *,
        webhook: str | Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Pipeline:
        """Hand in jobs by name, as `NewJob` or as JSON would have them, and come back at once. An input takes what
        another step gave by ``"${step.output.field}"``; ``after`` names steps. All are accepted, or none."""
        return self._wire.send(calls.submission(steps, webhook, metadata, idempotency_key)(0))

    def run(
        self,
        steps: Steps,
        *,
        wait_s: float | None = None,
        webhook: str | Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Pipeline:
        """``create``, and wait for its end: ``output`` has what the last steps gave. ``PipelineFailed`` if a step did
        not succeed; ``WaitTimeout`` after ``wait_s`` seconds."""
        submission = calls.submission(steps, webhook, metadata, idempotency_key)
        return self._wire.drive(_flows.run_pipeline(submission, wait_s, self._wire.retries))

    def get(self, pipeline: Pipeline | str) -> Pipeline:
        """With the job of every step."""
        return self._wire.send(calls.get(pipeline))

    def list(self, *, limit: int | None = None) -> Iterator[Pipeline]:
        """Pipelines of this key, newest first, page after page; their steps without their jobs."""
        return self._wire.walk(Pages(calls.list_page, limit))

    def wait(self, pipeline: Pipeline | str, wait_s: float | None = None) -> Pipeline:
        """The pipeline once it has ended, however it ended; ``WaitTimeout`` after ``wait_s`` seconds."""
        return self._wire.drive(_flows.wait_for_pipeline(pipeline, wait_s, self._wire.retries))

    def cancel(self, pipeline: Pipeline | str) -> Pipeline:
        """Cancels what of it has not ended; ``Conflict`` if all has."""
        return self._wire.send(calls.cancel(pipeline))

    def delete(self, pipeline: Pipeline | str) -> None:
        """Removes an ended pipeline with its jobs and their files; ``Conflict`` if it has not ended."""
        self._wire.send(calls.delete(pipeline))


class AsyncPipelines:
    """``callboard.pipelines``"""

    def __init__(self, wire: AsyncWire) -> None:
        self._wire = wire

    async def create(
        self,
        steps: Steps,
        *,
        webhook: str | Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Pipeline:
        """Hand in jobs by name, as `NewJob` or as JSON would have them, and come back at once. An input takes what
        another step gave by ``"${step.output.field}"``; ``after`` names steps. All are accepted, or none."""
        return await self._wire.send(calls.submission(steps, webhook, metadata, idempotency_key)(0))

    async def run(
        self,
        steps: Steps,
        *,
        wait_s: float | None = None,
        webhook: str | Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Pipeline:
        """``create``, and wait for its end: ``output`` has what the last steps gave. ``PipelineFailed`` if a step did
        not succeed; ``WaitTimeout`` after ``wait_s`` seconds."""
        submission = calls.submission(steps, webhook, metadata, idempotency_key)
        return await self._wire.drive(_flows.run_pipeline(submission, wait_s, self._wire.retries))

    async def get(self, pipeline: Pipeline | str) -> Pipeline:
        """With the job of every step."""
        return await self._wire.send(calls.get(pipeline))

    def list(self, *, limit: int | None = None) -> AsyncIterator[Pipeline]:
        """Pipelines of this key, newest first, page after page; their steps without their jobs."""
        return self._wire.walk(Pages(calls.list_page, limit))

    async def wait(self, pipeline: Pipeline | str, wait_s: float | None = None) -> Pipeline:
        """The pipeline once it has ended, however it ended; ``WaitTimeout`` after ``wait_s`` seconds."""
        return await self._wire.drive(_flows.wait_for_pipeline(pipeline, wait_s, self._wire.retries))

    async def cancel(self, pipeline: Pipeline | str) -> Pipeline:
        """Cancels what of it has not ended; ``Conflict`` if all has."""
        return await self._wire.send(calls.cancel(pipeline))

    async def delete(self, pipeline: Pipeline | str) -> None:
        """Removes an ended pipeline with its jobs and their files; ``Conflict`` if it has not ended."""
        await self._wire.send(calls.delete(pipeline))
