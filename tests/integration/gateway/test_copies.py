"""A 202 that rests on copies: it is not given before replicas, or disks, have what was submitted."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[2] / "doubles"))

from own_valkey import Server

from callboard_gateway.app import create_app
from callboard_gateway.settings import GatewaySettings
from callboard_shared.settings import LedgerSettings

ADMIN_KEY = "cb_testtest_" + "k" * 43
ECHO = {"type": "system.echo", "input": {"value": 1}}
ORDER = {"Idempotency-Key": "order-17"}


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "primary", "appendonly yes\nsave ''\nrepl-diskless-sync-delay 0\n")
    yield server
    server.end()


@pytest.fixture
def replica(primary: Server, tmp_path: Path) -> Iterator[Server]:
    follows = f"appendonly yes\nsave ''\nreplicaof 127.0.0.1 {primary.port}\n"
    server = Server(tmp_path / "replica", follows)
    primary.client.set("followed", 1)
    assert primary.client.execute_command("WAIT", 1, 20_000) == 1
    yield server
    server.end()


@asynccontextmanager
async def speaking(primary: Server, **settings: int) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(
        GatewaySettings(admin_key=SecretStr(ADMIN_KEY), **settings),  # type: ignore[arg-type]
        ledger_settings=LedgerSettings(redis_url=SecretStr(primary.url)),
    )
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://gateway",
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
        ) as client,
    ):
        yield client


async def test_what_a_replica_has_is_accepted(primary: Server, replica: Server) -> None:
    async with speaking(primary, submit_replicas=1) as client:
        accepted = await client.post("/v1/jobs", json=ECHO)
        assert accepted.status_code == 202
        job = accepted.json()["id"].encode()
    assert any(job in key for key in replica.client.scan_iter(count=1000))


async def test_a_replica_that_lags_is_waited_for_and_then_it_is_503_until_it_has_it(
    primary: Server, replica: Server
) -> None:
    pipeline = {"steps": {"one": {"type": "system.echo", "input": {"value": 1}}}}
    async with speaking(primary, submit_replicas=1) as client:
        conversation = (await client.post("/v1/conversations", json={})).json()["id"]
        lines = {"file": ("jobs.jsonl", json.dumps(ECHO).encode())}
        file = (await client.post("/v1/files", files=lines)).json()["id"]
        replica.freeze()
        try:
            for _ in range(2):  # the job is there by the second try, and still it is no promise
                refused = await client.post("/v1/jobs", json=ECHO, headers=ORDER)
                assert (refused.status_code, refused.json()["code"]) == (503, "ledger-unavailable")
                assert "same Idempotency-Key" in refused.json()["detail"]
            for path, body in (
                ("/v1/jobs:batch", {"jobs": [ECHO, ECHO]}),
                ("/v1/pipelines", pipeline),
                ("/v1/batches", {"file_id": file}),
                (f"/v1/conversations/{conversation}/messages", {"content": "Hello?"}),
            ):
                refused = await client.post(path, json=body)
                assert (refused.status_code, refused.json()["code"]) == (503, "ledger-unavailable"), path
            assert (await client.get("/v1/jobs")).status_code == 200, "who only reads waits for nobody"
        finally:
            replica.thaw()
        accepted = await client.post("/v1/jobs", json=ECHO, headers=ORDER)
        assert accepted.status_code == 202
        assert accepted.headers["Idempotency-Replayed"] == "true"
        jobs = (await client.get("/v1/jobs")).json()["data"]
        assert [job["id"] for job in jobs if job["type"] == "system.echo"].count(accepted.json()["id"]) == 1


async def test_without_the_setting_nobody_is_waited_for(primary: Server, replica: Server) -> None:
    async with speaking(primary) as client:
        replica.freeze()
        try:
            assert (await client.post("/v1/jobs", json=ECHO)).status_code == 202
        finally:
            replica.thaw()


async def test_what_is_on_the_disk_is_accepted(primary: Server) -> None:
    async with speaking(primary, submit_fsync=True) as client:
        batch = [ECHO] * 20
        assert (await client.post("/v1/jobs:batch", json={"jobs": batch})).status_code == 202
        assert (await client.post("/v1/jobs", json=ECHO)).status_code == 202
    primary.kill()
    primary.start()
    assert sum(b"job_" in key for key in primary.client.scan_iter(count=1000)) > 20


async def test_a_redis_that_keeps_no_file_is_named_with_the_setting(primary: Server) -> None:
    primary.client.config_set("appendonly", "no")
    async with speaking(primary, submit_fsync=True) as client:
        refused = await client.post("/v1/jobs", json=ECHO)
        assert refused.status_code == 503
        assert "CALLBOARD_SUBMIT_FSYNC" in refused.json()["detail"]
        assert "append-only file" in refused.json()["detail"]


async def test_a_redis_that_lost_its_scripts_still_waits(primary: Server, replica: Server) -> None:
    async with speaking(primary, submit_replicas=1) as client:
        assert (await client.post("/v1/jobs", json=ECHO)).status_code == 202
        replica.freeze()
        try:
            primary.client.script_flush()
            assert (await client.post("/v1/jobs", json=ECHO)).status_code == 503
        finally:
            replica.thaw()
