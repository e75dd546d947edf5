"""The system's own jobs, run beside the courier's."""

from __future__ import annotations

import asyncio

from callboard_shared.jobs.system import EchoInput
from callboard_shared.worker import Job


async def echo(job: Job[EchoInput]) -> dict[str, object]:
    if job.input.sleep_ms:
        await asyncio.sleep(job.input.sleep_ms / 1000)
    return {"value": job.input.value}
