"""Members of two releases on one ledger: what the newer one wrote and this code does not know, it passes over."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from pydantic import SecretStr
from trials import QUEUE, trial_at

from callboard_gateway.app import create_app
from callboard_gateway.settings import GatewaySettings
from callboard_shared.bell import TASK, celery_app
from callboard_shared.files import AsyncFiles, LocalStore
from callboard_shared.ids import new_id
from callboard_shared.ledger import Ledger, keys, verbs
from callboard_shared.ledger.records import Ended
from callboard_shared.settings import BrokerSettings, LedgerSettings

ADMIN_KEY = "cb_testtest_" + "k" * 43
ECHO = {"type": "system.echo", "input": {"value": 1}}
LIMITS = {"system.echo": (10, 0)}


@pytest.fixture
async def http(valkey_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The admin's client of this code's gateway."""
    app = create_app(
        GatewaySettings(admin_key=SecretStr(ADMIN_KEY)),
        ledger_settings=LedgerSettings(redis_url=SecretStr(valkey_url)),
    )
    app.state.files = AsyncFiles(LocalStore(tmp_path / "files"))
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=transport, base_url="http://gateway", headers=headers, timeout=20
        ) as client,
    ):
        yield client


async def submitted(http: httpx.AsyncClient, **more: Any) -> str:
    answer = await http.post("/v1/jobs", json={**ECHO, **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def run_one(ledger: Ledger) -> str:
    claim = verbs.claim("system", "by hand", limits=LIMITS, max_jobs=1, lease_ms=15_000)
    (job,) = ledger.run(claim).jobs
    ended = Ended(job.id, job.attempt, "succeeded", output=b'{"value":1}')
    assert ledger.run(verbs.finish("system", "by hand", [ended])).results == ["committed"]
    return job.id


def add_field(server: redis.Redis, key: str, name: str, **more: Any) -> None:
    """To a JSON document in a string, or in a field of a hash."""
    if server.type(key) == b"hash":
        server.hset(key, name, json.dumps(json.loads(server.hget(key, name)) | more))
    else:
        server.set(key, json.dumps(json.loads(server.get(key)) | more))


async def test_a_job_with_facts_of_a_newer_release_is_read_and_run(
    http: httpx.AsyncClient, ledger: Ledger, server: redis.Redis
) -> None:
    job_id = await submitted(http)
    server.hset(keys.of("system", "job", job_id), mapping={"color": "blue", "shade": "7"})
    add_field(server, keys.of("system", "spec", job_id), "", color={"deep": [1]})
    assert (await http.get(f"/v1/jobs/{job_id}")).json()["status"] == "queued"
    assert run_one(ledger) == job_id
    assert (await http.get(f"/v1/jobs/{job_id}")).json()["output"] == {"value": 1}


async def test_an_event_of_a_newer_kind_is_passed_on_and_the_stream_ends_as_ever(
    http: httpx.AsyncClient, ledger: Ledger, server: redis.Redis
) -> None:
    job_id = await submitted(http)
    server.xadd(keys.of("system", "events", job_id), {"kind": "mood", "data": '{"good":true}', "more": "x"})
    run_one(ledger)
    text = (await http.get(f"/v1/jobs/{job_id}/events")).text
    kinds = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    assert kinds == ["status", "mood", "status", "status", "done"]


async def test_a_job_of_a_newer_status_spoils_no_list(http: httpx.AsyncClient, server: redis.Redis) -> None:
    mine, newer, last = [await submitted(http) for _ in range(3)]
    server.hset(keys.of("system", "job", newer), "status", "pondering")
    listed = (await http.get("/v1/jobs")).json()["data"]
    assert [one["id"] for one in listed] == [last, mine]
    assert (await http.get(f"/v1/jobs/{newer}")).status_code == 404
    assert (await http.get(f"/v1/jobs/{newer}/events")).status_code == 404


async def test_keys_and_files_with_newer_facts_are_read(http: httpx.AsyncClient, server: redis.Redis) -> None:
    key = (
        await http.post("/v1/keys", json={"name": "shop", "scopes": ["jobs:write"], "limits": {"running": 3}})
    ).json()
    file = (await http.post("/v1/files", files={"file": ("a.txt", b"words")})).json()
    add_field(server, keys.ACCESS_KEYS, key["id"], color="blue", limits={"running": 3, "colors": 4})
    add_field(server, keys.FILE_RECORDS + file["id"], "", color="blue")
    named = {one["id"]: one for one in (await http.get("/v1/keys")).json()["data"]}
    assert named[key["id"]]["limits"]["running"] == 3
    with_it = {"Authorization": f"Bearer {key['key']}"}
    assert (await http.post("/v1/jobs", json=ECHO, headers=with_it)).status_code == 202
    assert (await http.get(file["url"])).content == b"words"
    assert [one["id"] for one in (await http.get("/v1/files")).json()["data"]] == [file["id"]]


async def test_pipelines_batches_and_models_with_newer_facts_are_read(
    http: httpx.AsyncClient, server: redis.Redis
) -> None:
    pipeline = (await http.post("/v1/pipelines", json={"steps": {"one": ECHO}})).json()["id"]
    place = keys.of(keys.PIPELINES, "pipeline", pipeline)
    spec = json.loads(server.hget(place, "spec"))
    steps = [step | {"color": "blue"} for step in spec["steps"]]
    server.hset(
        place,
        mapping={"spec": json.dumps(spec | {"steps": steps, "color": "blue"}), "end:job_x": "pondering"},
    )
    assert (await http.get(f"/v1/pipelines/{pipeline}")).json()["steps"]["one"]["status"] == "queued"

    lines = (await http.post("/v1/files", files={"file": ("a.jsonl", json.dumps(ECHO).encode())})).json()[
        "id"
    ]
    batch = (await http.post("/v1/batches", json={"file_id": lines})).json()["id"]
    add_field(server, keys.of(keys.BATCHES, "batch", batch), "spec", color="blue")
    server.hset(keys.of("system", "tally", batch), mapping={"submitted": 1, "pondering": 1})
    assert (await http.get(f"/v1/batches/{batch}")).json()["file_id"] == lines

    owner = (await http.get("/v1/keys")).json()["data"][0]["id"]
    part = {"path": "a", "id": new_id("file"), "bytes": 1, "sha256": "", "media_type": "x/y", "color": "blue"}
    model = {"owner": owner, "name": "words", "kind": "word2vec", "task": "word2vec", "job_id": "job_1",
             "created_ms": 1, "files": [part], "version": 0, "color": "blue"}  # fmt: skip
    server.hset(keys.MODELS + owner, "words@1", json.dumps(model))
    assert (await http.get("/v1/models/words@1")).json()["bytes"] == 1


def test_a_bell_with_headers_and_options_of_a_newer_release_is_answered(
    valkey_url: str, tmp_path: Path
) -> None:
    newer = celery_app("newer", BrokerSettings(broker_url=SecretStr(valkey_url)), current=False)
    with trial_at(valkey_url, tmp_path, sweep=False) as trial:
        trial.worker()
        (job_id,) = trial.submit(trial.job("answer"), ring=False)  # so that no other bell is heard
        headers = {"color": "blue", "stamps": {"x": [1]}}
        newer.send_task(TASK, args=(QUEUE,), queue=QUEUE, headers=headers, priority=3, ignore_result=True)
        assert trial.result(job_id).status.value == "succeeded"
