"""From the body of ``POST /v1/batches`` to a batch for the ledger."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from callboard_shared.documents import validate
from callboard_shared.ids import new_id
from callboard_shared.ledger.batching import BatchSpec, NewBatch
from callboard_shared.submission import DAY_S, MetadataName, MetadataValue, Webhook
from callboard_shared.urls import Policy, check_url
from callboard_shared.webhooks import BATCH_EVENTS

RETENTION_S = 7 * DAY_S


class BatchWebhook(Webhook):
    """Where to post what becomes of this batch."""

    events: list[Literal[*BATCH_EVENTS]] = Field(  # type: ignore[valid-type]
        default=list(BATCH_EVENTS), min_length=1, description="Which events; every ending if not said."
    )


class BatchBody(BaseModel):
    """Jobs as the lines of a file."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    file_id: str = Field(
        max_length=64,
        description="Of `POST /v1/files`: JSONL, in each line a job as `POST /v1/jobs` takes it (without `after`), and "
        "a `custom_id` if you like.",
    )
    webhook: BatchWebhook | None = None
    metadata: dict[MetadataName, MetadataValue] = Field(
        default={}, max_length=50, description="Your own notes: up to 50 names with texts."
    )
    retention_s: int = Field(
        default=RETENTION_S,
        ge=1,
        le=366 * DAY_S,
        description="Seconds that the batch and its files are kept from its end on.",
    )


class BatchReader:
    """``expires_s``: of jobs that do not say; ``room``: messages and bytes that a conversation may hold."""

    def __init__(self, urls: Policy, expires_s: float | None, room: tuple[int, int]) -> None:
        self._urls, self._expires_s, self._room = urls, expires_s, room

    def read(
        self, document: Any, owner: str, traceparent: str | None = None, batch_id: str | None = None
    ) -> NewBatch:
        """The batch to accept, with a new id if none is given. Raises Invalid naming every fault."""
        body = validate(BatchBody, document)
        if body.webhook is not None:
            check_url(body.webhook.url, self._urls, "webhook.url")
        webhook = body.webhook.model_dump() if body.webhook else None
        spec = self.spec(body.file_id, metadata=body.metadata, webhook=webhook, traceparent=traceparent)
        return new_batch(owner, spec, body.retention_s * 1000, batch_id)

    def spec(self, file_id: str, **more: Any) -> BatchSpec:
        return BatchSpec(file_id, **{"expires_s": self._expires_s, "room": self._room, **more})


def new_batch(
    owner: str, spec: BatchSpec, retention_ms: int = RETENTION_S * 1000, batch_id: str | None = None
) -> NewBatch:
    hook = ""
    if spec.webhook is not None:
        statuses = (event.removeprefix("batch.") for event in dict.fromkeys(spec.webhook["events"]))
        hook = f"{','.join(statuses)} {spec.webhook['url']}"
    return NewBatch(batch_id or new_id("batch"), owner, spec, hook, retention_ms)
