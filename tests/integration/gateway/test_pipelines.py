"""Pipelines over HTTP: accepted whole or not at all, read, waited for, canceled, deleted, and nobody else's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from pydantic import SecretStr

from callboard_courier.sweep import Sweep
from callboard_gateway.schemas import PipelineList, PipelineObject
from callboard_gateway.settings import GatewaySettings
from callboard_shared.bell import Bell, celery_app
from callboard_shared.errors import FinalError, LedgerUnavailable
from callboard_shared.files import Files, LocalStore
from callboard_shared.ids import is_id
from callboard_shared.ledger import Ledger, pipelining
from callboard_shared.ledger.keys import PIPELINES, SWEEP_LOCK, of
from callboard_shared.settings import BrokerSettings, LedgerSettings

ADMIN_KEY = "cb_testtest_" + "k" * 43
FIRST = {"type": "system.echo", "input": {"value": 1}}
SECOND = {"type": "system.echo", "input": {"value": {"got": "${first.output.value}"}}}
TWO = {"steps": {"first": FIRST, "second": SECOND}}


@pytest.fixture
def settings() -> GatewaySettings:
    return GatewaySettings(admin_key=SecretStr(ADMIN_KEY), max_waiting_jobs=5)


@pytest.fixture
async def courier(gateway: Any, valkey_url: str, tmp_path: Path) -> AsyncIterator[None]:
    """The courier's sweep, which tells steps of what has ended."""
    url = SecretStr(valkey_url)
    ledger = Ledger(LedgerSettings(redis_url=url))
    bell = Bell(celery_app("test-courier", BrokerSettings(broker_url=url), current=False))
    sweep = Sweep(ledger, bell, Files(LocalStore(tmp_path / "files")))
    sweep.start()
    yield
    await asyncio.to_thread(sweep.stop)
    ledger.close()


async def run_all(worker: Any, steps: int, outcome: str = "succeeded") -> None:
    async with asyncio.timeout(15):
        while steps:
            for job in await worker.claim():
                await worker.finish(job, outcome)
                steps -= 1
            await asyncio.sleep(0.01)


async def submit(client: httpx.AsyncClient, body: Any = TWO, **headers: str) -> httpx.Response:
    return await client.post("/v1/pipelines", json=body, headers=headers)


async def ended(client: httpx.AsyncClient, pipeline: dict[str, Any]) -> dict[str, Any]:
    answer = (await client.get(pipeline["links"]["self"], params={"wait": 15})).json()
    assert answer["finished_at"] is not None, answer
    return dict(answer)


# --- accepting ----------------------------------------------------------------------------------------------


async def test_a_pipeline_is_accepted_with_all_its_jobs(client: httpx.AsyncClient) -> None:
    answer = await submit(client, TWO | {"metadata": {"order": "17"}})
    pipeline = answer.json()
    PipelineObject.model_validate(pipeline)
    assert answer.status_code == 202
    assert answer.headers["location"] == pipeline["links"]["self"] == f"/v1/pipelines/{pipeline['id']}"
    assert is_id(pipeline["id"], "pipe") and answer.headers["retry-after"] == "1"
    assert (pipeline["status"], pipeline["output"], pipeline["error"]) == ("queued", None, None)
    assert pipeline["progress"] == {"fraction": 0.0, "step": 0, "steps": 2}
    assert pipeline["metadata"] == {"order": "17"}
    steps = pipeline["steps"]
    assert [(name, one["status"], one["after"]) for name, one in steps.items()] == [
        ("first", "queued", []),
        ("second", "blocked", ["first"]),
    ]
    for name, step in steps.items():
        job = (await client.get(f"/v1/jobs/{step['job_id']}")).json()
        assert (job["pipeline_id"], job["step"], job["type"]) == (pipeline["id"], name, step["type"])
        assert job == step["job"]
    assert steps["first"]["job_id"] in steps["second"]["job"]["waiting_for"]


async def test_a_pipeline_runs_to_its_end_and_gives_what_its_last_steps_gave(
    client: httpx.AsyncClient, worker: Any, courier: None
) -> None:
    running = asyncio.create_task(run_all(worker, 2))
    answer = await submit(client, Prefer="wait=20")
    await running
    pipeline = answer.json()
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=20")
    assert (pipeline["status"], pipeline["output"]) == ("succeeded", {"second": {"value": 1}})
    assert pipeline["progress"] == {"fraction": 1.0, "step": 2, "steps": 2}
    assert pipeline["steps"]["second"]["job"]["input"] == {"value": {"got": 1}}
    assert (await client.get(pipeline["links"]["self"])).json() == pipeline
    PipelineObject.model_validate(pipeline)


async def test_a_step_starts_soon_after_the_one_that_it_waits_for(
    gateway: Any, client: httpx.AsyncClient, worker: Any, courier: None
) -> None:
    """The courier hears of it; it need not wait for its next sweep."""
    steps: dict[str, Any] = {"s0": FIRST}
    for i in range(1, 5):
        steps[f"s{i}"] = {"type": "system.echo", "input": {"value": f"${{s{i - 1}.output.value}}"}}
    async with asyncio.timeout(10):
        while not await gateway.app.state.ledger.redis.exists(SWEEP_LOCK):
            await asyncio.sleep(0.01)
    pipeline = (await submit(client, {"steps": steps})).json()
    begun = time.monotonic()
    await run_all(worker, 5)
    await ended(client, pipeline)
    assert time.monotonic() - begun < 2.5  # five sweeps would take five seconds


async def test_waiting_in_vain_gives_the_pipeline_as_it_is(client: httpx.AsyncClient) -> None:
    answer = await submit(client, Prefer="wait=1")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert "preference-applied" not in answer.headers
    again = await client.get(answer.json()["links"]["self"], params={"wait": 1})
    assert again.json()["status"] == "queued"


async def test_a_repeated_request_makes_no_second_pipeline(client: httpx.AsyncClient) -> None:
    first = await submit(client, **{"Idempotency-Key": "order-17"})
    again = await submit(client, **{"Idempotency-Key": "order-17"})
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["steps"].keys() == first.json()["steps"].keys()
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    assert len((await client.get("/v1/jobs")).json()["data"]) == 2
    other = await submit(client, {"steps": {"first": FIRST}}, **{"Idempotency-Key": "order-17"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-mismatch")


async def test_a_request_cut_off_after_its_reservation_goes_on_under_the_same_id(
    gateway: Any, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut_off(*_: Any, **__: Any) -> None:
        raise LedgerUnavailable("away")

    with monkeypatch.context() as broken:
        broken.setattr(gateway.app.state.pipelines, "submit", cut_off)
        assert (await submit(client, **{"Idempotency-Key": "a"})).status_code == 503
    answer = await submit(client, **{"Idempotency-Key": "a"})
    job = answer.json()["steps"]["first"]["job"]
    assert (answer.status_code, job["pipeline_id"]) == (202, answer.json()["id"])


async def test_a_pipeline_that_is_accepted_while_the_ledger_fails_goes_on(
    gateway: Any, client: httpx.AsyncClient, worker: Any, courier: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise LedgerUnavailable("away")

    with monkeypatch.context() as broken:
        broken.setattr(gateway.app.state.pipelines, "_begin", away)
        answer = await submit(client)
    pipeline = answer.json()
    assert answer.status_code == 202
    assert [step["status"] for step in pipeline["steps"].values()] == ["blocked", "blocked"]
    await run_all(worker, 2)
    assert (await ended(client, pipeline))["status"] == "succeeded"


# --- refusing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({}, 422, "validation", "steps"),
        ({"steps": {}}, 422, "validation", "steps"),
        ({"steps": {"a": FIRST}, "more": 1}, 422, "validation", "more"),
        ({"steps": {"second": SECOND}}, 422, "validation", "steps.second.input.value.got"),
        ({"steps": {"a": {**FIRST, "after": ["a"]}}}, 422, "validation", "steps.a.after.0"),
        ({"steps": {"a": {"type": "x", "input": {}}}}, 422, "validation", "steps.a.type"),
        (
            {"steps": {"a": {"type": "nlp.embed", "input": {"texts": ["a"], "model": "nobody"}}}},
            422,
            "unknown-model",
            "steps.a.input.model",
        ),
        (
            {"steps": {"a": {"type": "nlp.word2vec.train", "input": {"file": {"file_id": "file_x"}}}}},
            422,
            "unknown-file",
            "steps.a.input.file.file_id",
        ),
        (
            {"steps": {"a": FIRST}, "webhook": {"url": "http://10.0.0.1/"}},
            422,
            "url-not-allowed",
            "webhook.url",
        ),
    ],
)
async def test_a_refusal_says_which_field_and_leaves_nothing(
    client: httpx.AsyncClient, worker: Any, body: Any, status: int, code: str, field: str
) -> None:
    answer = await submit(client, body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["errors"][0]["field"] == field
    assert (await client.get("/v1/pipelines")).json() == {"data": [], "next_cursor": None}
    assert (await client.get("/v1/jobs")).json()["data"] == []


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [(b"{", "application/json", 400), (b"[]", "application/json", 422), (b"{}", "text/plain", 415)],
)
async def test_what_is_no_json_object_is_refused(
    client: httpx.AsyncClient, content: bytes, kind: str, status: int
) -> None:
    answer = await client.post("/v1/pipelines", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status


async def test_all_steps_find_room_or_none(client: httpx.AsyncClient) -> None:
    assert (await submit(client)).status_code == 202
    four = {"steps": {f"s{i}": FIRST for i in range(4)}}
    refused = await submit(client, four)
    assert (refused.status_code, refused.json()["code"]) == (429, "queue-full")
    assert refused.headers["retry-after"]
    assert len((await client.get("/v1/jobs")).json()["data"]) == 2
    assert (await submit(client, {"steps": dict(list(four["steps"].items())[:3])})).status_code == 202
    assert (await client.post("/v1/jobs", json=FIRST)).status_code == 429  # steps count as any job


async def test_a_ledger_short_of_memory_accepts_no_step(gateway: Any, client: httpx.AsyncClient) -> None:
    await gateway.app.state.ledger.redis.hset(of("system", "stats"), "full", "1")
    refused = await submit(client)
    assert (refused.status_code, refused.json()["code"]) == (503, "queue-full")
    assert (await client.get("/v1/pipelines")).json()["data"] == []


async def test_a_busy_conversation_refuses_the_pipeline(client: httpx.AsyncClient) -> None:
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    say = {"type": "llm.chat", "input": {"conversation_id": conversation, "message": "Hello"}}
    voice = {"type": "tts.speech", "input": {"text": "${say.output.message.content}"}}
    first = await submit(client, {"steps": {"say": say, "voice": voice}})
    assert first.status_code == 202
    messages = (await client.get(f"/v1/conversations/{conversation}/messages")).json()["data"]
    assert [(one["content"], one["status"]) for one in messages] == [("Hello", "pending")]
    assert messages[0]["job_id"] == first.json()["steps"]["say"]["job_id"]
    refused = await submit(client, {"steps": {"say": say}})
    assert (refused.status_code, refused.json()["code"]) == (409, "conversation-busy")
    assert refused.json()["job_id"] == messages[0]["job_id"]
    nowhere = {**say, "input": say["input"] | {"conversation_id": "conv_" + "0" * 26}}
    unknown = await submit(client, {"steps": {"say": nowhere}})
    assert unknown.json()["errors"][0]["field"] == "steps.say.input.conversation_id"


async def test_scopes_are_asked_for(gateway: Any, client: httpx.AsyncClient) -> None:
    made = (await submit(client)).json()["links"]["self"]
    async with await gateway.key("jobs:read") as reader:
        assert (await submit(reader)).status_code == 403
        assert (await reader.post(f"{made}/cancel")).status_code == 403
        assert (await reader.get("/v1/pipelines")).status_code == 200
    async with gateway.with_key(None) as nobody:
        assert (await submit(nobody)).status_code == 401


async def test_another_keys_pipeline_is_not_there(gateway: Any, client: httpx.AsyncClient) -> None:
    made = (await submit(client)).json()["links"]["self"]
    async with await gateway.key("jobs:read", "jobs:write") as other:
        for answer in (
            await other.get(made),
            await other.post(f"{made}/cancel"),
            await other.delete(made),
            await other.get("/v1/pipelines/pipe_nonsense"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
        assert (await other.get("/v1/pipelines")).json()["data"] == []
    assert (await client.get(made)).json()["status"] == "queued"


# --- failing, canceling, forgetting ---------------------------------------------------------------------------


async def test_a_failed_step_is_named_in_the_pipelines_error(
    client: httpx.AsyncClient, worker: Any, courier: None
) -> None:
    made = (await submit(client)).json()
    (job,) = await worker.claim()
    await worker.finish(job, "failed", error=orjson.dumps(FinalError("There was no paper.").problem()))
    pipeline = await ended(client, made)
    PipelineObject.model_validate(pipeline)
    assert (pipeline["status"], pipeline["output"]) == ("failed", None)
    assert (pipeline["error"]["code"], pipeline["error"]["step"]) == ("step-failed", "first")
    assert "There was no paper." in pipeline["error"]["detail"]
    assert pipeline["steps"]["second"]["job"]["error"]["code"] == "dependency-failed"


async def test_a_waiting_pipeline_is_canceled_at_once(gateway: Any, client: httpx.AsyncClient) -> None:
    made = (await submit(client, TWO | {"webhook": {"url": "https://example.com/"}})).json()
    answer = await client.post(made["links"]["cancel"])
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert {step["status"] for step in answer.json()["steps"].values()} == {"canceled"}
    again = await client.post(made["links"]["cancel"])
    assert (again.status_code, again.json()["code"]) == (409, "already-ended")
    rows = await gateway.app.state.ledger.redis.xrange(of(PIPELINES, "outbox"))
    assert [(row[b"event"], row[b"subject"].decode()) for _, row in rows] == [
        (b"pipeline.canceled", made["id"])
    ]


async def test_a_running_pipeline_is_canceled_when_its_job_has_stopped(
    client: httpx.AsyncClient, worker: Any, courier: None
) -> None:
    made = (await submit(client)).json()
    (job,) = await worker.claim()
    answer = await client.post(made["links"]["cancel"])
    steps = {name: step["status"] for name, step in answer.json()["steps"].items()}
    assert (answer.status_code, answer.json()["status"]) == (202, "canceling")
    assert steps == {"first": "canceling", "second": "canceled"}
    await worker.finish(job, "canceled")
    assert (await ended(client, made))["status"] == "canceled"


async def test_progress_counts_the_steps_and_what_runs(client: httpx.AsyncClient, worker: Any) -> None:
    made = (await submit(client, {"steps": {"a": FIRST, "b": FIRST}})).json()
    await worker.run_one()
    (job,) = await worker.claim()
    await worker.report(job, "progress", fraction=0.5)
    pipeline = (await client.get(made["links"]["self"])).json()
    assert pipeline["status"] == "running"
    assert pipeline["progress"] == {"fraction": 0.75, "step": 1, "steps": 2, "message": "running: b"}


async def test_an_unfinished_pipeline_keeps_its_jobs_and_an_ended_one_goes_with_them(
    client: httpx.AsyncClient, worker: Any, courier: None
) -> None:
    made = (await submit(client)).json()
    first = f"/v1/jobs/{made['steps']['first']['job_id']}"
    await worker.run_one()
    refused = [await client.delete(made["links"]["self"]), await client.delete(first)]
    assert [(one.status_code, one.json()["code"]) for one in refused] == [(409, "unfinished")] * 2
    await run_all(worker, 1)
    await ended(client, made)
    assert (await client.delete(first)).status_code == 204
    kept = (await client.get(made["links"]["self"])).json()["steps"]["first"]
    assert (kept["status"], kept["job"]) == ("succeeded", None)
    assert (await client.delete(made["links"]["self"])).status_code == 204
    assert (await client.get(made["links"]["self"])).status_code == 404
    assert (await client.get("/v1/jobs")).json()["data"] == []


async def test_a_step_that_never_got_its_input_is_not_retried(
    client: httpx.AsyncClient, worker: Any, courier: None
) -> None:
    made = (await submit(client)).json()
    (job,) = await worker.claim()
    await worker.finish(job, "failed", error=b'{"code":"x"}')
    await ended(client, made)
    second = await client.post(f"/v1/jobs/{made['steps']['second']['job_id']}/retry")
    assert (second.status_code, second.json()["code"]) == (409, "never-started")
    first = (await client.post(f"/v1/jobs/{made['steps']['first']['job_id']}/retry")).json()
    assert first["retried_from"] == made["steps"]["first"]["job_id"]
    assert "pipeline_id" not in first


async def test_pipelines_are_listed_newest_first_page_by_page(client: httpx.AsyncClient) -> None:
    made = [(await submit(client, {"steps": {"a": FIRST}})).json()["id"] for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        page = (await client.get("/v1/pipelines", params={"limit": 2, **more})).json()
        PipelineList.model_validate(page)
        seen += [one["id"] for one in page["data"]]
        assert all("job" not in step for one in page["data"] for step in one["steps"].values())
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]
    assert (await client.get("/v1/pipelines", params={"cursor": "x"})).status_code == 422


async def test_what_nobody_carried_out_is_seen_in_the_record(gateway: Any, client: httpx.AsyncClient) -> None:
    made = (await submit(client)).json()
    record = await gateway.app.state.ledger.run(pipelining.find(made["id"]))
    assert record.jobs == ()
    assert await gateway.app.state.ledger.redis.zcard(of(PIPELINES, "due")) == 0


# --- events -------------------------------------------------------------------------------------------------


def told(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Id, kind and data of the events of a stream."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":")
        )
        if "event" in fields:
            found.append((fields["id"], fields["event"], orjson.loads(fields["data"])))
    return found


async def events(
    client: httpx.AsyncClient, path: str, after: str | None = None
) -> list[tuple[str, str, Any]]:
    """All of them, until the stream closes."""
    headers = {} if after is None else {"Last-Event-ID": after}
    async with asyncio.timeout(20):
        answer = await client.get(path, headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    return told(answer.text)


async def test_the_events_of_all_steps_come_as_one_stream(
    client: httpx.AsyncClient, worker: Any, courier: None
) -> None:
    made = (await submit(client)).json()
    reading = asyncio.create_task(events(client, made["links"]["events"]))
    (job,) = await worker.claim()
    await worker.report(job, "delta", text="Hel")
    await worker.report(job, "progress", fraction=0.5)
    await worker.finish(job)
    await run_all(worker, 1)
    seen = await reading
    assert [(kind, data.get("step"), data.get("status")) for _, kind, data in seen] == [
        ("status", None, "queued"),
        ("status", "first", "queued"),
        ("status", "first", "running"),
        ("delta", "first", None),
        ("progress", "first", None),
        ("status", "first", "succeeded"),
        ("status", "second", "queued"),
        ("status", "second", "running"),
        ("status", "second", "succeeded"),
        ("done", None, "succeeded"),
    ]
    PipelineObject.model_validate(seen[-1][2])
    assert seen[-1][2] == (await client.get(made["links"]["self"])).json()
    for at in range(len(seen) - 1):  # whoever goes on after any of them misses none and sees none twice
        assert await events(client, made["links"]["events"], seen[at][0]) == seen[at + 1 :]
    over = await client.get(made["links"]["events"], headers={"Last-Event-ID": seen[-1][0]})
    assert over.status_code == 204


@pytest.mark.parametrize("last", ["x", "-", "-,-,-", "1-0", "*,1", "-,-.dome"])
async def test_an_event_id_of_another_stream_is_refused(client: httpx.AsyncClient, last: str) -> None:
    made = (await submit(client)).json()
    answer = await client.get(made["links"]["events"], headers={"Last-Event-ID": last})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Last-Event-ID")


async def test_another_keys_events_are_not_there(gateway: Any, client: httpx.AsyncClient) -> None:
    made = (await submit(client)).json()
    async with await gateway.key("jobs:read") as other:
        assert (await other.get(made["links"]["events"])).status_code == 404


async def test_a_stream_closes_when_the_server_stops(gateway: Any, client: httpx.AsyncClient) -> None:
    made = (await submit(client)).json()
    reading = asyncio.create_task(events(client, made["links"]["events"]))
    async with asyncio.timeout(5):
        while not gateway.app.state.news.watched:
            await asyncio.sleep(0.01)
    gateway.app.state.stopping.begin()
    assert [kind for _, kind, _ in await reading][-1] == "status"
