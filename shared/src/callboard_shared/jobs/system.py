"""Jobs that need no model: for trying a stack out, and for measuring what Callboard itself costs."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from callboard_shared.jobs.base import Batch, Input, JobType, Limits, Output


class EchoInput(Input):
    value: Any = Field(default=None, description="Any JSON value; it comes back as it is.")
    sleep_ms: int = Field(default=0, ge=0, le=600_000, description="Milliseconds to wait before answering.")


class EchoOutput(Output):
    value: Any = None


ECHO = JobType(
    name="system.echo",
    queue="system",
    input=EchoInput,
    output=EchoOutput,
    summary="Answer with the value that was sent: the cheapest job.",
    example={"value": {"hello": "world"}},
    batch=Batch(max_jobs=256),
    limits=Limits(timeout_s=900),
)
