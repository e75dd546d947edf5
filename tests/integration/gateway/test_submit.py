"""Submitting: the answer at once, waiting for the end, idempotency, batches, limits."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from callboard_gateway.settings import GatewaySettings
from callboard_shared.ids import is_id

ECHO = {"type": "system.echo", "input": {"value": 1}}


async def run_soon(worker: Any) -> None:
    """Run the one job that is about to be submitted."""
    async with asyncio.timeout(10):
        while not (jobs := await worker.claim()):
            await asyncio.sleep(0.01)
    await worker.finish(jobs[0])


async def test_a_submission_is_accepted_at_once(client: httpx.AsyncClient, worker: Any) -> None:
    answer = await client.post("/v1/jobs", json=ECHO | {"metadata": {"order": "17"}})
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert int(answer.headers["retry-after"]) >= 1
    assert is_id(job["id"], "job")
    assert (job["status"], job["queue_position"], job["attempt"], job["waiting_for"]) == (
        "queued",
        1,
        0,
        None,
    )
    assert (job["input"], job["metadata"], job["output"]) == ({"value": 1}, {"order": "17"}, None)


async def test_what_submit_answers_is_what_is_read_later(client: httpx.AsyncClient, worker: Any) -> None:
    said = (
        await client.post("/v1/jobs", json=ECHO | {"priority": 3, "run_at": "2099-01-01T00:00:00Z"})
    ).json()
    assert (await client.get(said["links"]["self"])).json() == said
    assert (said["status"], said["scheduled_for"]) == ("scheduled", "2099-01-01T00:00:00.000Z")


async def test_nobody_at_work_is_said_so(client: httpx.AsyncClient) -> None:
    job = (await client.post("/v1/jobs", json=ECHO)).json()
    assert "No worker is online for queue system" in job["waiting_for"]


async def test_waiting_gives_the_ended_job(client: httpx.AsyncClient, worker: Any) -> None:
    running = asyncio.create_task(run_soon(worker))
    answer = await client.post("/v1/jobs", json=ECHO, headers={"Prefer": "respond-async, wait=20"})
    await running
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=20"
    assert answer.json()["status"] == "succeeded"
    assert answer.json()["output"] == {"value": 1}


async def test_waiting_in_vain_gives_the_job_as_it_is(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs", json=ECHO, headers={"Prefer": "wait=1"})
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers
    assert answer.json()["status"] == "queued"


async def test_waiting_ends_when_the_server_stops(gateway: Any, client: httpx.AsyncClient) -> None:
    waiting = asyncio.create_task(client.post("/v1/jobs", json=ECHO, headers={"Prefer": "wait=60"}))
    async with asyncio.timeout(5):
        while not gateway.app.state.news.watched:
            await asyncio.sleep(0.01)
        gateway.app.state.stopping.begin()
        answer = await waiting
    assert answer.status_code == 202


async def test_an_idempotency_key_makes_one_job(client: httpx.AsyncClient, worker: Any) -> None:
    headers = {"Idempotency-Key": "order-17"}
    first = await client.post("/v1/jobs", json=ECHO, headers=headers)
    second = await client.post("/v1/jobs", json=ECHO, headers=headers)
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert (second.status_code, second.json()["id"]) == (202, first.json()["id"])
    await worker.run_one()
    third = await client.post("/v1/jobs", json=ECHO, headers=headers)
    assert (third.status_code, third.json()["status"]) == (200, "succeeded")
    assert await worker.claim() == []


async def test_an_idempotency_key_with_another_body_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "order-17"}
    await client.post("/v1/jobs", json=ECHO, headers=headers)
    answer = await client.post("/v1/jobs", json=ECHO | {"priority": 1}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-mismatch")


async def test_an_idempotency_key_belongs_to_its_api_key(gateway: Any, client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "order-17"}
    mine = await client.post("/v1/jobs", json=ECHO, headers=headers)
    async with await gateway.key("jobs:write") as other:
        theirs = await other.post("/v1/jobs", json=ECHO | {"priority": 1}, headers=headers)
    assert theirs.status_code == 202
    assert theirs.json()["id"] != mine.json()["id"]


async def test_requests_at_the_same_moment_with_one_idempotency_key_make_one_job(
    client: httpx.AsyncClient, worker: Any
) -> None:
    headers = {"Idempotency-Key": "order-17"}
    answers = await asyncio.gather(*(client.post("/v1/jobs", json=ECHO, headers=headers) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(await worker.claim(50)) == 1


async def test_a_refused_submission_does_not_use_up_its_idempotency_key(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "order-17"}
    assert (
        await client.post("/v1/jobs", json={"type": "nope", "input": {}}, headers=headers)
    ).status_code == 422
    assert (await client.post("/v1/jobs", json=ECHO, headers=headers)).status_code == 202


async def test_a_batch_answers_job_or_problem_in_order(client: httpx.AsyncClient, worker: Any) -> None:
    jobs = [
        ECHO,
        {"type": "nope", "input": {}},
        {"type": "nlp.embed", "input": {"texts": ["a"]}},
        7,
        ECHO | {"x": 1},
    ]
    answer = await client.post("/v1/jobs:batch", json={"jobs": jobs})
    assert answer.status_code == 202
    data = answer.json()["data"]
    assert [one["status"] for one in data] == ["queued", 422, "queued", 422, 422]
    assert data[1]["code"] == "validation"
    assert data[1]["instance"] == "/v1/jobs:batch#/jobs/1"
    assert data[2]["queue"] == "nlp"


async def test_a_batch_of_a_thousand_is_accepted(client: httpx.AsyncClient, worker: Any) -> None:
    answer = await client.post("/v1/jobs:batch", json={"jobs": [ECHO] * 1000})
    data = answer.json()["data"]
    assert [one["queue_position"] for one in data] == list(range(1, 1001))
    too_many = await client.post("/v1/jobs:batch", json={"jobs": [ECHO] * 1001})
    assert too_many.status_code == 422


@pytest.mark.parametrize("body", [{}, {"jobs": []}, {"jobs": {}}, {"jobs": [ECHO], "x": 1}, [ECHO]])
async def test_a_batch_is_a_list_of_jobs(client: httpx.AsyncClient, body: Any) -> None:
    answer = await client.post("/v1/jobs:batch", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation")


async def test_a_batch_that_is_sent_again_makes_no_second_jobs(
    client: httpx.AsyncClient, worker: Any
) -> None:
    headers = {"Idempotency-Key": "batch-1"}
    first = await client.post("/v1/jobs:batch", json={"jobs": [ECHO] * 3}, headers=headers)
    await worker.run_one()
    second = await client.post("/v1/jobs:batch", json={"jobs": [ECHO] * 3}, headers=headers)
    assert second.headers["idempotency-replayed"] == "true"
    assert [one["id"] for one in second.json()["data"]] == [one["id"] for one in first.json()["data"]]
    assert [one["status"] for one in second.json()["data"]] == ["succeeded", "queued", "queued"]
    assert second.json()["data"][0]["output"] == {"value": 1}


async def test_a_job_starts_after_others(client: httpx.AsyncClient, worker: Any) -> None:
    first = (await client.post("/v1/jobs", json=ECHO)).json()
    second = (await client.post("/v1/jobs", json=ECHO | {"after": [first["id"]]})).json()
    assert (second["status"], second["after"]) == ("blocked", [first["id"]])
    await worker.run_one()
    assert (await client.get(second["links"]["self"])).json()[
        "status"
    ] == "blocked"  # until the sweep settles it
    third = (await client.post("/v1/jobs", json=ECHO | {"after": [first["id"]]})).json()
    assert third["status"] == "queued", "what it waits for has ended already"


async def test_after_another_keys_job_is_refused(gateway: Any, client: httpx.AsyncClient) -> None:
    mine = (await client.post("/v1/jobs", json=ECHO)).json()["id"]
    async with await gateway.key("jobs:write") as other:
        answer = await other.post("/v1/jobs", json=ECHO | {"after": [mine]})
        batch = await other.post("/v1/jobs:batch", json={"jobs": [ECHO, ECHO | {"after": [mine]}]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "after.0"
    assert [one["status"] for one in batch.json()["data"]] == ["queued", 422]


class TestAModel:
    async def test_that_is_unknown_is_refused_naming_those_there_are(self, client: httpx.AsyncClient) -> None:
        job = {"type": "nlp.embed", "input": {"texts": ["a"], "model": "all-MiniLM-L6"}}
        problem = (await client.post("/v1/jobs", json=job)).json()
        assert (problem["status"], problem["code"]) == (422, "unknown-model")
        assert "all-MiniLM-L6-v2" in problem["detail"]
        assert problem["errors"][0]["field"] == "input.model"

    async def test_that_a_worker_announces_can_be_named(
        self, gateway: Any, client: httpx.AsyncClient, worker: Any
    ) -> None:
        nlp = type(worker)(worker.ledger, "nlp")
        await nlp.online()
        await gateway.app.state.models.look()
        job = {"type": "nlp.embed", "input": {"texts": ["a"], "model": "all-MiniLM-L6-v2"}}
        assert (await client.post("/v1/jobs", json=job)).status_code == 202
        listed = (await client.get("/v1/models")).json()["data"]
        assert [one["loaded"] for one in listed if one["name"] == "all-MiniLM-L6-v2"] == [True]


class TestAFewJobsMayWait:
    @pytest.fixture
    def settings(self) -> GatewaySettings:
        return GatewaySettings(admin_key=SecretStr("cb_testtest_" + "k" * 43), max_waiting_jobs=2)

    async def test_one_more_is_429(self, client: httpx.AsyncClient) -> None:
        for _ in range(2):
            assert (await client.post("/v1/jobs", json=ECHO)).status_code == 202
        answer = await client.post("/v1/jobs", json=ECHO)
        assert (answer.status_code, answer.json()["code"]) == (429, "queue-full")
        assert int(answer.headers["retry-after"]) > 0

    async def test_a_batch_is_taken_as_far_as_there_is_room(self, client: httpx.AsyncClient) -> None:
        data = (await client.post("/v1/jobs:batch", json={"jobs": [ECHO] * 3})).json()["data"]
        assert [one["status"] for one in data] == ["queued", "queued", 429]
        assert data[2]["code"] == "queue-full"


class TestFewRequests:
    @pytest.fixture
    def settings(self) -> GatewaySettings:
        key = SecretStr("cb_testtest_" + "k" * 43)
        return GatewaySettings(admin_key=key, rate_limit_per_s=0.01, rate_limit_burst=3)

    async def test_are_answered_and_then_refused(self, client: httpx.AsyncClient) -> None:
        answers = [await client.get("/v1/queues") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[0].headers["ratelimit-policy"] == '"requests";q=3;w=300'
        assert answers[0].headers["ratelimit"].startswith('"requests";r=2;t=')
        assert answers[3].headers["ratelimit"].startswith('"requests";r=0;t=')
        assert answers[3].json()["code"] == "rate-limited"
        assert 290 <= int(answers[3].headers["retry-after"]) <= 300


async def test_concurrent_submissions_share_round_trips(gateway: Any, client: httpx.AsyncClient) -> None:
    trips = 0
    ledger = gateway.app.state.ledger
    run = ledger.run

    async def counted(call: Any) -> Any:
        nonlocal trips
        trips += 1
        return await run(call)

    await client.get("/v1/queues")  # so that the key is known
    ledger.run = counted
    began = time.monotonic()
    answers = await asyncio.gather(*(client.post("/v1/jobs", json=ECHO) for _ in range(64)))
    assert {answer.status_code for answer in answers} == {202}
    assert trips < 16 or time.monotonic() - began > 1
