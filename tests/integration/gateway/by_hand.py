"""A worker's side of the ledger, step by step."""

from __future__ import annotations

from typing import Any

import orjson

from callboard_shared.ledger import AsyncLedger, ClaimedJob, Ended, verbs


class Worker:
    """What a worker does, by hand: claims, reports and finishes jobs of a queue."""

    def __init__(self, ledger: AsyncLedger, queue: str = "system") -> None:
        self.ledger, self.queue, self.name = ledger, queue, f"{queue}@test#1"

    async def online(self) -> None:
        await self.ledger.run(
            verbs.beat(
                self.queue,
                f"{self.queue}@test",
                60_000,
                host="test",
                pid=1,
                slots=1,
                models=["all-MiniLM-L6-v2"],
            )
        )

    async def claim(self, most: int = 1) -> list[ClaimedJob]:
        limits = {"system.echo": (most, 0), "nlp.embed": (most, 0), "nlp.similarity": (most, 0)}
        call = verbs.claim(self.queue, self.name, limits=limits, max_jobs=most, lease_ms=15_000)
        return (await self.ledger.run(call)).jobs

    async def report(self, job: ClaimedJob, kind: str, **data: Any) -> None:
        progress = orjson.dumps(data) if kind == "progress" else b""
        events = [(kind, orjson.dumps(data))]
        await self.ledger.run(verbs.report(self.queue, self.name, job.id, job.attempt, events, progress))

    async def finish(self, job: ClaimedJob, outcome: Any = "succeeded", **more: Any) -> None:
        output = b'{"value":1}' if outcome == "succeeded" else b""
        ended = Ended(job.id, job.attempt, outcome, output=output, **more)
        reply = await self.ledger.run(verbs.finish(self.queue, self.name, [ended], 1))
        assert reply.results == ["committed"]

    async def run_one(self) -> ClaimedJob:
        (job,) = await self.claim()
        await self.finish(job)
        return job
