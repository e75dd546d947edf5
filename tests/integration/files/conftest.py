"""A gateway of the test's own, on a real port over a real Valkey, with its files in the test's folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from callboard_gateway.app import create_app
from callboard_gateway.settings import GatewaySettings
from callboard_shared.files import AsyncFiles, LocalStore
from callboard_shared.ledger import AsyncLedger
from callboard_shared.settings import LedgerSettings

ADMIN_KEY = "cb_testtest_" + "k" * 43


@dataclass
class Gateway:
    url: str
    key: str
    app: FastAPI
    folder: Path

    @property
    def ledger(self) -> AsyncLedger:
        ledger: AsyncLedger = self.app.state.ledger
        return ledger

    def contents(self) -> list[Path]:
        """Every file in the object store, unfinished ones too."""
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def client(self, key: str | None = None, **options: object) -> httpx.AsyncClient:
        """A client that sends the admin's key, another, or none ("")."""
        secret = self.key if key is None else key
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20, **options)  # type: ignore[arg-type]


@pytest.fixture
async def gateway(valkey_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    settings = GatewaySettings(admin_key=SecretStr(ADMIN_KEY), rate_limit_per_s=0)
    app = create_app(settings, ledger_settings=LedgerSettings(redis_url=SecretStr(valkey_url)))
    app.state.files = AsyncFiles(LocalStore(tmp_path / "files"))
    app.state.max_file_bytes = 1_000_000
    config = uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Gateway(f"http://127.0.0.1:{port}", ADMIN_KEY, app, tmp_path / "files")
    server.should_exit = True
    await serving


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client() as client:
        yield client


@pytest.fixture
async def stranger(gateway: Gateway, client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """Someone else's key."""
    made = await client.post("/v1/keys", json={"name": "stranger", "scopes": ["jobs:read", "jobs:write"]})
    async with gateway.client(made.json()["key"]) as stranger:
        yield stranger
