"""A gateway of the test's own over a real Valkey, and a worker's side of the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from callboard_gateway.app import create_app
from callboard_gateway.settings import GatewaySettings
from callboard_shared.files import AsyncFiles, LocalStore
from callboard_shared.ledger import AsyncLedger, ClaimedJob, Ended, verbs
from callboard_shared.settings import LedgerSettings

ADMIN_KEY = "cb_testtest_" + "k" * 43
ECHO = {"type": "system.echo", "input": {"value": 1}}


@dataclass
class Gateway:
    """``client`` speaks as the admin."""

    app: FastAPI
    client: httpx.AsyncClient

    async def key(self, *scopes: str, **more: Any) -> httpx.AsyncClient:
        """A client with a new key."""
        made = await self.client.post("/v1/keys", json={"name": "test", "scopes": scopes, **more})
        assert made.status_code == 201, made.text
        return self.with_key(made.json()["key"])

    def with_key(self, key: str | None) -> httpx.AsyncClient:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers, timeout=20)


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


@pytest.fixture
def settings() -> GatewaySettings:
    """What the test's gateway is set to; a test may say otherwise by a fixture of this name."""
    return GatewaySettings(admin_key=SecretStr(ADMIN_KEY))


@pytest.fixture
async def gateway(valkey_url: str, tmp_path: Path, settings: GatewaySettings) -> AsyncIterator[Gateway]:
    app = create_app(settings, ledger_settings=LedgerSettings(redis_url=SecretStr(valkey_url)))
    app.state.files = AsyncFiles(LocalStore(tmp_path / "files"))
    async with app.router.lifespan_context(app):
        gateway = Gateway(app, None)  # type: ignore[arg-type]
        gateway.client = gateway.with_key(ADMIN_KEY)
        async with gateway.client:
            yield gateway


@pytest.fixture
def client(gateway: Gateway) -> httpx.AsyncClient:
    return gateway.client


@pytest.fixture
async def worker(gateway: Gateway) -> Worker:
    worker = Worker(gateway.app.state.ledger)
    await worker.online()
    return worker


@pytest.fixture
async def served(gateway: Gateway) -> AsyncIterator[str]:
    """The same gateway on a real port, for what an in-process transport cannot show: streams, sockets. Gives its URL."""
    server = uvicorn.Server(
        uvicorn.Config(gateway.app, port=0, lifespan="off", log_level="warning", http="httptools")
    )
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:
            await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    gateway.app.state.stopping.begin()
    server.should_exit = True
    await serving
