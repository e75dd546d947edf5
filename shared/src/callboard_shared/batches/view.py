"""How a batch looks to clients: the one place that turns its record and its tally into the API's batch object."""

from __future__ import annotations

from typing import Any

from callboard_shared.ledger.batching import BatchRecord, Tally
from callboard_shared.view import timestamp


def batch_view(batch: BatchRecord, tally: Tally) -> dict[str, Any]:
    """The batch object. ``tally``: of its jobs, as long as it has not ended."""
    links = f"/v1/batches/{batch.id}"
    return {
        "id": batch.id,
        "status": status_of(batch),
        "counts": counts_of(batch, tally),
        "file_id": batch.spec.file_id,
        "output_file": batch.results.get("output"),
        "errors_file": batch.results.get("errors"),
        "error": batch.problem,
        "waiting_for": None if batch.status else batch.waits,
        "retried_from": batch.spec.retried_from,
        "metadata": dict(batch.spec.metadata),
        "created_at": timestamp(batch.created_ms),
        "finished_at": timestamp(batch.finished_ms),
        "links": {"self": links, "cancel": f"{links}/cancel", "retry": f"{links}/retry"},
    }


def status_of(batch: BatchRecord) -> str:
    if batch.status is not None:
        return batch.status
    if batch.canceling:
        return "canceling"
    if batch.output is not None:
        return "finalizing"
    return "running" if batch.total is not None else "validating"


def counts_of(batch: BatchRecord, tally: Tally) -> dict[str, int]:
    """``pending``: those that have not ended, read or not; with the rest it makes ``total``, which is known once the
    lines are counted."""
    if batch.counts is not None:
        return dict(batch.counts)
    invalid = batch.invalid
    total = max(batch.total or 0, invalid + tally.submitted)
    return {
        "total": total,
        "pending": total - invalid - tally.ended,
        "succeeded": tally.succeeded,
        "failed": tally.failed,
        "canceled": tally.canceled,
        "expired": tally.expired,
        "invalid": invalid,
    }
