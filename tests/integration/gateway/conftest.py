"""A gateway of the test's own over a real Valkey, and a worker's side of the ledger."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parent))

from by_hand import Worker

from callboard_gateway.app import create_app
from callboard_gateway.serving import Protocol
from callboard_gateway.settings import GatewaySettings
from callboard_shared.files import AsyncFiles, LocalStore
from callboard_shared.settings import LedgerSettings, OutboundSettings

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


@pytest.fixture
def settings() -> GatewaySettings:
    """What the test's gateway is set to; a test may say otherwise by a fixture of this name."""
    return GatewaySettings(admin_key=SecretStr(ADMIN_KEY))


@pytest.fixture
def outbound() -> OutboundSettings:
    """Which URLs may be given; a test may say otherwise by a fixture of this name."""
    return OutboundSettings()


@pytest.fixture
async def gateway(
    valkey_url: str, tmp_path: Path, settings: GatewaySettings, outbound: OutboundSettings
) -> AsyncIterator[Gateway]:
    ledger = LedgerSettings(redis_url=SecretStr(valkey_url))
    app = create_app(settings, ledger_settings=ledger, outbound_settings=outbound)
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
        uvicorn.Config(gateway.app, port=0, lifespan="off", log_level="warning", http=Protocol)
    )
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:
            await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    gateway.app.state.stopping.begin()
    server.should_exit = True
    await serving
