"""The least that a gateway could do: FastAPI, one pydantic model, one Redis pipeline a POST, 202.

``uvicorn bench.rivals.fastapi_pipeline:app``; ``BENCH_BROKER`` is the Redis URL.
"""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

import redis.asyncio
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
store = redis.asyncio.Redis.from_url(os.environ["BENCH_BROKER"])


class Job(BaseModel):
    type: str
    input: dict[str, Any]


@app.post("/v1/jobs", status_code=202)
async def submit(job: Job) -> dict[str, str]:
    job_id = uuid4().hex
    async with store.pipeline(transaction=True) as pipe:
        pipe.hset(f"job:{job_id}", mapping={"type": job.type, "input": job.model_dump_json()})
        pipe.rpush("queue", job_id)
        await pipe.execute()
    return {"id": job_id, "status": "queued"}
