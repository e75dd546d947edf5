"""Which handler runs which job type: dispatch by declaration."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from callboard_shared.errors import RetryableError
from callboard_shared.jobs.base import JobType


class Handlers:
    def __init__(self) -> None:
        self._by_name: dict[str, tuple[JobType[Any, Any], Callable[..., Any]]] = {}

    def add(self, job_type: JobType[Any, Any], handler: Callable[..., Any]) -> None:
        if job_type.name in self._by_name:
            raise TypeError(f"{job_type.name} has two handlers")
        self._by_name[job_type.name] = (job_type, handler)

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> Callable[..., Any]:
        return self._by_name[name][1] if name in self._by_name else _unknown

    def job_type(self, name: str) -> JobType[Any, Any]:
        """Raises RetryableError: a worker of a newer release may know the type."""
        if name not in self._by_name:
            raise RetryableError(
                f"This worker does not know job type {name}; is it older than the gateway? Update it.",
                code="unsupported-type",
                retry_after_s=5,
            )
        return self._by_name[name][0]

    def takes_batches(self, name: str) -> bool:
        """Sync handlers of types with a batch declaration get all jobs of a batch in one call."""
        if name not in self._by_name:
            return False
        job_type, handler = self._by_name[name]
        return job_type.batch is not None and not inspect.iscoroutinefunction(handler)

    def limits(self, queue: str) -> dict[str, tuple[int, int]]:
        """Per job type of the queue: jobs and weight (0: any) of one batch."""
        return {
            name: (job_type.batch.max_jobs, job_type.batch.max_weight or 0)
            for name, (job_type, _) in self._by_name.items()
            if job_type.queue == queue and job_type.batch
        }

    def most_jobs(self, queue: str) -> int:
        return max((jobs for jobs, _ in self.limits(queue).values()), default=1)

    def names(self, queue: str) -> list[str]:
        return [name for name, (job_type, _) in self._by_name.items() if job_type.queue == queue]


def _unknown(*_: Any) -> Any:
    raise RetryableError("This worker does not know the job's type.", code="unsupported-type")
