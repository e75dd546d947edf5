"""A house to break into: a gateway on a real port over a real Valkey, the ledger in the hand, and keys for anyone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import redis
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from callboard_gateway.app import create_app
from callboard_gateway.serving import Protocol, Server
from callboard_gateway.settings import GatewaySettings
from callboard_shared.files import AsyncFiles, LocalStore
from callboard_shared.ledger import Ledger
from callboard_shared.settings import LedgerSettings, OutboundSettings

ADMIN_KEY = "cb_testtest_" + "k" * 43


class House:
    """``admin``: a client with the first key. ``ledger``: what couriers and workers do is done by it, by hand."""

    def __init__(self, url: str, app: FastAPI, ledger: Ledger, folder: Path) -> None:
        self.url, self.app, self.ledger, self.folder = url, app, ledger, folder
        self.admin = self.client(ADMIN_KEY)
        self.nobody = self.client(None)

    def client(self, key: str | None, **options: Any) -> httpx.Client:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, **options)

    def new_key(self, *scopes: str, name: str = "test") -> dict[str, Any]:
        made = self.admin.post("/v1/keys", json={"name": name, "scopes": list(scopes)})
        assert made.status_code == 201, made.text
        return dict(made.json())

    def key(self, *scopes: str) -> httpx.Client:
        """A client with a new key."""
        return self.client(self.new_key(*scopes)["key"])

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = self.nobody.get("/openapi.json").json()
        return found


@contextmanager
def house_at(valkey: str, folder: Path, **settings: Any) -> Iterator[House]:
    """``settings``: of the gateway. Limits of rate are off, for they would answer before a fence does."""
    with redis.Redis.from_url(valkey) as client:
        client.flushall()
        client.config_set("maxmemory", 0)
    own = GatewaySettings(admin_key=SecretStr(ADMIN_KEY), rate_limit_per_s=0, webhook_inbox=True, **settings)
    ledger = LedgerSettings(redis_url=SecretStr(valkey))
    app = create_app(own, ledger_settings=ledger, outbound_settings=OutboundSettings())
    app.state.files = AsyncFiles(LocalStore(folder / "files"))
    app.state.max_file_bytes = 1_000_000
    server = Server(uvicorn.Config(app, port=0, log_level="warning", http=Protocol), app)
    serving = threading.Thread(target=server.run, name="house")
    serving.start()
    until = time.monotonic() + 30
    while not server.started:
        assert serving.is_alive() and time.monotonic() < until, "the gateway did not start"
        time.sleep(0.01)
    hand = Ledger(ledger)
    try:
        yield House(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", app, hand, folder)
    finally:
        hand.close()
        server.should_exit = True
        serving.join(20)
