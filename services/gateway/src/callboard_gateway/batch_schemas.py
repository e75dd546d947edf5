"""The shapes of answers about batches, for the OpenAPI document."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from callboard_gateway.schemas import Problem
from callboard_shared.jobs import FileReference

_AT = "2026-11-22T09:30:00.000Z"
_BATCH_ID, _FILE_ID = "batch_01kaq3v5ef7v8m2c4r6t8w0y2z", "file_01kaq3v5ef7v8m2c4r6t8w0y2z"


class BatchCounts(BaseModel):
    """Lines. What is not `pending` has ended; all together are `total`."""

    total: int = Field(description="Known once the lines of the file are counted.")
    pending: int = Field(description="Not ended: not read yet, waiting, or running.")
    succeeded: int
    failed: int
    canceled: int
    expired: int
    invalid: int = Field(description="No valid job.")


class BatchLinks(BaseModel):
    self: str
    cancel: str
    retry: str


class BatchObject(BaseModel):
    """A batch. Its status never leaves `completed` (every line has ended, however), `failed` (its file could not be
    read to the end) and `canceled`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _BATCH_ID, "status": "running",
                    "counts": {
                        "total": 3, "pending": 1, "succeeded": 1, "failed": 0, "canceled": 0, "expired": 0,
                        "invalid": 1,
                    },
                    "file_id": _FILE_ID, "output_file": None, "errors_file": None, "error": None, "waiting_for": None,
                    "retried_from": None, "metadata": {}, "created_at": _AT, "finished_at": None,
                    "links": {
                        "self": f"/v1/batches/{_BATCH_ID}", "cancel": f"/v1/batches/{_BATCH_ID}/cancel",
                        "retry": f"/v1/batches/{_BATCH_ID}/retry",
                    },
                }
            ]
        }
    )  # fmt: skip

    id: str
    status: Literal["validating", "running", "finalizing", "canceling", "completed", "failed", "canceled"]
    counts: BatchCounts
    file_id: str = Field(description="The file whose lines it runs.")
    output_file: FileReference | None = Field(description="JSONL: what became of each line, in order.")
    errors_file: FileReference | None = Field(description="The same of those that did not succeed.")
    error: Problem | None = Field(description="Why the file could not be read, or not to its end.")
    waiting_for: str | None = Field(description="A sentence when something keeps it from submitting more.")
    retried_from: str | None = Field(description="Only on a retry: the batch of which it repeats lines.")
    metadata: dict[str, str]
    created_at: str
    finished_at: str | None
    links: BatchLinks


class BatchList(BaseModel):
    data: list[BatchObject]
    next_cursor: str | None
