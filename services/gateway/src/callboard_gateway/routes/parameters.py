"""The parameters that many routes take, each declared once."""

from __future__ import annotations

from typing import Annotated

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
IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="Per API key, kept 24 hours: makes repeating safe."),
]
