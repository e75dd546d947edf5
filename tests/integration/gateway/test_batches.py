"""Batches over HTTP, in our words and in OpenAI's: accepted, counted, waited for, canceled, run again, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest
from pydantic import SecretStr

from callboard_courier.batches import Batches
from callboard_gateway.batch_schemas import BatchList, BatchObject
from callboard_gateway.settings import GatewaySettings
from callboard_shared.files import Files, LocalStore
from callboard_shared.ids import is_id
from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import Ended, Ledger, verbs
from callboard_shared.settings import LedgerSettings
from callboard_shared.urls import Policy

ADMIN_KEY = "cb_testtest_" + "k" * 43
VECTOR = {"embeddings": [[0.5, 0.5]], "dimensions": 2, "tokens": 3, "model": "all-MiniLM-L6-v2"}


@pytest.fixture
def settings() -> GatewaySettings:
    return GatewaySettings(admin_key=SecretStr(ADMIN_KEY), max_batches=3, max_waiting_jobs=1)


@pytest.fixture
async def courier(gateway: Any, valkey_url: str, tmp_path: Path) -> AsyncIterator[None]:
    ledger = Ledger(LedgerSettings(redis_url=SecretStr(valkey_url)))
    batches = Batches(ledger, Files(LocalStore(tmp_path / "files")), Policy(), lambda queue: None, QUEUES)
    batches.start()
    yield
    await asyncio.to_thread(batches.stop)
    ledger.close()


def echo(value: Any, **more: Any) -> dict[str, Any]:
    return {"type": "system.echo", "input": {"value": value}, **more}


async def upload(client: httpx.AsyncClient, *lines: Any) -> str:
    content = b"\n".join(line if isinstance(line, bytes) else orjson.dumps(line) for line in lines)
    answer = await client.post("/v1/files", files={"file": ("lines.jsonl", content)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def submit(client: httpx.AsyncClient, *lines: Any, **more: Any) -> dict[str, Any]:
    answer = await client.post("/v1/batches", json={"file_id": await upload(client, *lines), **more})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def run_all(worker: Any, jobs: int, outcome: str = "succeeded") -> None:
    async with asyncio.timeout(15):
        while jobs:
            for job in await worker.claim(min(50, jobs)):
                await worker.finish(job, outcome)
                jobs -= 1
            await asyncio.sleep(0.01)


async def ended(client: httpx.AsyncClient, batch: dict[str, Any]) -> dict[str, Any]:
    answer = (await client.get(batch["links"]["self"], params={"wait": 15})).json()
    assert answer["finished_at"] is not None, answer
    return dict(answer)


async def lines_of(client: httpx.AsyncClient, reference: dict[str, Any]) -> list[dict[str, Any]]:
    content = await client.get(reference["url"])
    assert content.headers["content-type"].startswith("application/jsonl")
    return [orjson.loads(line) for line in content.content.splitlines()]


# --- in our words -------------------------------------------------------------------------------------------


async def test_a_batch_is_accepted_before_its_file_is_read(client: httpx.AsyncClient) -> None:
    file_id = await upload(client, echo(1), echo(2))
    answer = await client.post("/v1/batches", json={"file_id": file_id, "metadata": {"order": "17"}})
    batch = answer.json()
    BatchObject.model_validate(batch)
    assert answer.status_code == 202 and is_id(batch["id"], "batch")
    assert answer.headers["location"] == batch["links"]["self"] == f"/v1/batches/{batch['id']}"
    assert (batch["status"], batch["file_id"], batch["metadata"]) == ("validating", file_id, {"order": "17"})
    assert set(batch["counts"].values()) == {0}


@pytest.mark.usefixtures("courier")
async def test_counts_move_and_the_files_say_what_became_of_each_line(
    client: httpx.AsyncClient, worker: Any
) -> None:
    batch = await submit(client, echo(1, custom_id="one"), b"nonsense", echo(3))
    await run_all(worker, 1)
    async with asyncio.timeout(10):
        while True:
            now = (await client.get(batch["links"]["self"])).json()
            if now["counts"]["succeeded"] == 1:
                break
            await asyncio.sleep(0.02)
    assert now["status"] == "running"
    assert (now["counts"]["total"], now["counts"]["pending"], now["counts"]["invalid"]) == (3, 1, 1)
    await run_all(worker, 1)
    done = await ended(client, batch)
    BatchObject.model_validate(done)
    assert done["status"] == "completed"
    output = await lines_of(client, done["output_file"])
    assert [(one["line"], one["custom_id"], one["status"]) for one in output] == [
        (1, "one", "succeeded"), (2, None, "invalid"), (3, None, "succeeded"),
    ]  # fmt: skip
    assert [one["line"] for one in await lines_of(client, done["errors_file"])] == [2]
    job = (await client.get(f"/v1/jobs/{output[0]['job_id']}")).json()
    assert (job["batch_id"], job["line"], job["custom_id"]) == (batch["id"], 1, "one")


@pytest.mark.usefixtures("courier")
async def test_a_batch_is_not_refused_for_the_jobs_that_a_key_may_have_waiting(
    client: httpx.AsyncClient, worker: Any
) -> None:
    batch = await submit(client, *(echo(n) for n in range(30)))
    single = await client.post("/v1/jobs", json=echo("single"))
    assert single.status_code == 202
    await run_all(worker, 31)
    assert (await ended(client, batch))["counts"]["succeeded"] == 30


@pytest.mark.usefixtures("courier")
async def test_who_prefers_to_wait_gets_the_ended_batch(client: httpx.AsyncClient, worker: Any) -> None:
    body = {"file_id": await upload(client, echo(1))}
    running = asyncio.create_task(run_all(worker, 1))
    answer = await client.post("/v1/batches", json=body, headers={"Prefer": "wait=15"})
    await running
    assert answer.status_code == 200 and answer.headers["preference-applied"] == "wait=15"
    assert answer.json()["counts"]["succeeded"] == 1


async def test_an_idempotency_key_makes_one_batch(client: httpx.AsyncClient) -> None:
    body = {"file_id": await upload(client, echo(1))}
    first = await client.post("/v1/batches", json=body, headers={"Idempotency-Key": "k"})
    second = await client.post("/v1/batches", json=body, headers={"Idempotency-Key": "k"})
    assert second.json()["id"] == first.json()["id"] and second.headers["idempotency-replayed"] == "true"
    other = await client.post(
        "/v1/batches", json=body | {"metadata": {"a": "b"}}, headers={"Idempotency-Key": "k"}
    )
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-mismatch")
    assert len((await client.get("/v1/batches")).json()["data"]) == 1


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"file_id": "file_nowhere"}, "file_id", "unknown-file"),
        ({}, "file_id", "missing"),
        ({"file_id": "x", "lines": []}, "lines", "extra_forbidden"),
        ({"file_id": "x", "webhook": {"url": "http://10.0.0.1/"}}, "webhook.url", "url-not-allowed"),
    ],
)
async def test_what_is_wrong_with_a_batch_is_named(
    client: httpx.AsyncClient, body: dict[str, Any], field: str, code: str
) -> None:
    answer = await client.post("/v1/batches", json=body)
    assert answer.status_code == 422
    assert (answer.json()["errors"][0]["field"], answer.json()["errors"][0]["code"]) == (field, code)


@pytest.mark.usefixtures("courier")
async def test_anothers_batch_or_file_is_none(gateway: Any, client: httpx.AsyncClient) -> None:
    batch = await submit(client, echo(1))
    async with await gateway.key("jobs:write", "jobs:read") as bob:
        for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry"), ("DELETE", "")):
            answer = await bob.request(method, batch["links"]["self"] + path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), (method, path)
        taken = await bob.post("/v1/batches", json={"file_id": batch["file_id"]})
        assert (taken.status_code, taken.json()["code"]) == (422, "unknown-file")
        assert (await bob.get("/v1/batches")).json()["data"] == []
    async with await gateway.key("jobs:read") as reader:
        assert (await reader.post("/v1/batches", json={"file_id": batch["file_id"]})).status_code == 403


async def test_a_key_has_so_many_open_batches_and_a_list_of_them(client: httpx.AsyncClient) -> None:
    made = [await submit(client, echo(n)) for n in range(3)]
    over = await client.post("/v1/batches", json={"file_id": made[0]["file_id"]})
    assert (over.status_code, over.json()["code"], over.headers["retry-after"]) == (429, "queue-full", "30")
    first = (await client.get("/v1/batches", params={"limit": 2})).json()
    BatchList.model_validate(first)
    rest = (await client.get("/v1/batches", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    listed = [one["id"] for one in first["data"] + rest["data"]]
    assert listed == [one["id"] for one in reversed(made)] and rest["next_cursor"] is None


@pytest.mark.usefixtures("courier")
async def test_a_canceled_batch_is_run_again_and_deleted(client: httpx.AsyncClient, worker: Any) -> None:
    batch = await submit(client, echo(1), echo(2), echo(3))
    early = await client.post(batch["links"]["retry"])
    assert (early.status_code, early.json()["code"]) == (409, "unfinished")
    assert (await client.delete(batch["links"]["self"])).status_code == 409
    await run_all(worker, 1)
    canceling = await client.post(batch["links"]["cancel"])
    assert canceling.status_code == 202 and canceling.json()["status"] in ("canceling", "canceled")
    done = await ended(client, batch)
    assert (done["status"], done["counts"]["succeeded"], done["counts"]["canceled"]) == ("canceled", 1, 2)
    again = await client.post(batch["links"]["cancel"])
    assert (again.status_code, again.json()["code"]) == (409, "already-ended")
    key = {"Idempotency-Key": "again"}
    first, second = [await client.post(batch["links"]["retry"], headers=key) for _ in range(2)]
    retried = first.json()
    assert retried["retried_from"] == batch["id"] and second.json()["id"] == retried["id"]
    assert "idempotency-replayed" not in first.headers
    assert (second.status_code, second.headers["idempotency-replayed"]) == (202, "true")
    await run_all(worker, 2)
    second = await ended(client, retried)
    assert (second["status"], second["counts"]["total"]) == ("completed", 2)
    nothing = await client.post(second["links"]["retry"])
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing-to-retry")
    assert (await client.delete(batch["links"]["self"])).status_code == 204
    assert (await client.get(batch["links"]["self"])).status_code == 404
    for what in ("output_file", "errors_file"):
        assert (await client.get(done[what]["url"])).status_code == 404


@pytest.mark.usefixtures("courier")
async def test_a_job_of_a_batch_that_goes_on_is_not_deleted(client: httpx.AsyncClient, worker: Any) -> None:
    batch = await submit(client, echo(1), echo(2))
    await run_all(worker, 1)
    done = (await client.get("/v1/jobs", params={"status": "succeeded"})).json()["data"][0]
    refused = await client.delete(f"/v1/jobs/{done['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "unfinished") and batch[
        "id"
    ] in refused.text
    await run_all(worker, 1)
    await ended(client, batch)
    async with asyncio.timeout(10):  # the courier closes it a moment after its end
        while (await client.delete(f"/v1/jobs/{done['id']}")).status_code == 409:
            await asyncio.sleep(0.02)


# --- in OpenAI's --------------------------------------------------------------------------------------------


@pytest.fixture
def sdk(served: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{served}/openai/v1", api_key=ADMIN_KEY, max_retries=0)


def asked(name: str, **body: Any) -> dict[str, Any]:
    body = {"model": "all-MiniLM-L6-v2", "input": "Hello", **body}
    return {"custom_id": name, "method": "POST", "url": "/v1/embeddings", "body": body}


async def a_file(sdk: openai.AsyncOpenAI, *lines: Any) -> str:
    content = b"\n".join(orjson.dumps(line) for line in lines)
    return (await sdk.files.create(file=("in.jsonl", content), purpose="batch")).id


async def embed_all(gateway: Any, jobs: int, failing: int = 0) -> None:
    ledger, runner = gateway.app.state.ledger, "nlp@test#1"
    async with asyncio.timeout(15):
        while jobs:
            call = verbs.claim("nlp", runner, limits={}, max_jobs=1, lease_ms=15_000)
            for job in (await ledger.run(call)).jobs:
                failed = jobs <= failing
                end = Ended(
                    job.id, job.attempt, "failed" if failed else "succeeded",
                    output=b"" if failed else orjson.dumps(VECTOR),
                    error=b'{"code":"text-too-long","status":422,"detail":"Too long."}' if failed else b"",
                )  # fmt: skip
                await ledger.run(verbs.finish("nlp", runner, [end]))
                jobs -= 1
            await asyncio.sleep(0.01)


async def openais_end(sdk: openai.AsyncOpenAI, batch_id: str) -> Any:
    async with asyncio.timeout(15):
        while True:
            batch = await sdk.batches.retrieve(batch_id)
            if batch.status in ("completed", "failed", "cancelled"):
                return batch
            await asyncio.sleep(0.05)


@pytest.mark.usefixtures("courier")
async def test_openais_library_runs_a_batch(sdk: openai.AsyncOpenAI, gateway: Any) -> None:
    lines = [asked("a"), asked("b", input=["x", "y"]), asked("c", dimensions=2), asked("d", input="z")]
    batch = await sdk.batches.create(
        input_file_id=await a_file(sdk, *lines), endpoint="/v1/embeddings", completion_window="24h",
        metadata={"order": "17"},
    )  # fmt: skip
    assert (batch.object, batch.status, batch.metadata) == ("batch", "validating", {"order": "17"})
    assert batch.expires_at == batch.created_at + 86_400
    await embed_all(gateway, 3, failing=1)
    done = await openais_end(sdk, batch.id)
    assert done.status == "completed" and done.completed_at is not None
    assert done.request_counts.to_dict() == {"total": 4, "completed": 2, "failed": 2}
    output = [
        orjson.loads(line) for line in (await sdk.files.content(done.output_file_id)).content.splitlines()
    ]
    assert [one["custom_id"] for one in output] == ["a", "b"]
    answer = output[0]["response"]
    assert answer["status_code"] == 200 and answer["body"]["object"] == "list" and output[0]["error"] is None
    assert answer["body"]["data"][0]["embedding"] == [0.5, 0.5]
    errors = [
        orjson.loads(line) for line in (await sdk.files.content(done.error_file_id)).content.splitlines()
    ]
    assert [(one["custom_id"], one["response"]["status_code"]) for one in errors] == [("c", 400), ("d", 400)]
    assert errors[0]["response"]["body"]["error"]["param"] == "dimensions"


@pytest.mark.usefixtures("courier")
async def test_openais_library_lists_and_cancels(sdk: openai.AsyncOpenAI, client: httpx.AsyncClient) -> None:
    ours = await submit(client, echo(1))
    file_id = await a_file(sdk, asked("a"))
    made = [
        await sdk.batches.create(input_file_id=file_id, endpoint="/v1/embeddings", completion_window="24h")
        for _ in range(2)
    ]
    page = await sdk.batches.list(limit=1)
    assert [one.id for one in page.data] == [made[1].id] and page.has_more
    assert [one.id async for one in page] == [made[1].id, made[0].id]
    canceling = await sdk.batches.cancel(made[0].id)
    assert canceling.status in ("cancelling", "cancelled")
    done = await openais_end(sdk, made[0].id)
    assert done.status == "cancelled" and done.cancelled_at is not None
    errors = (await sdk.files.content(done.error_file_id)).content
    assert orjson.loads(errors)["error"]["code"] == "batch_cancelled"
    with pytest.raises(openai.NotFoundError):
        await sdk.batches.retrieve(ours["id"])
    with pytest.raises(openai.BadRequestError):
        await sdk.batches.cancel(made[0].id)


async def test_what_is_wrong_with_openais_batch_is_said_in_openais_shape(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.batches.create(input_file_id="file-x", endpoint="/v1/embeddings", completion_window="24h")
    assert caught.value.param == "input_file_id"
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.batches.create(
            input_file_id=await a_file(sdk, asked("a")), endpoint="/v1/moderations", completion_window="24h"
        )
    assert caught.value.param == "endpoint"
