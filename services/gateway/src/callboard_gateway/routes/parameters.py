"""The parameters that many routes take, each declared once."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header, Query

Limit = Annotated[int, Query(ge=1, le=100, description="How many the page holds at most.")]
Cursor = Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")]
Wait = Annotated[
    int, Query(ge=0, le=60, description="Hold the answer until it has ended, or so many seconds.")
]
Prefer = Annotated[
    str | None,
    Header(description="`wait=N`: hold the answer until it has ended, N seconds at most (1–60)."),
]
REPLAYED: dict[str, Any] = {
    "Idempotency-Replayed": {
        "description": "`true` when the Idempotency-Key was seen before.",
        "schema": {"type": "string"},
    }
}
"""The header of an answer, as the OpenAPI document has it."""


def replay_header(replayed: bool) -> dict[str, str]:
    return {"Idempotency-Replayed": "true"} if replayed else {}


IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="Per API key, kept 24 hours: makes repeating safe."),
]
