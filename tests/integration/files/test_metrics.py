from __future__ import annotations

import asyncio
import re
import socket
from typing import Any

import httpx
import orjson
from fastapi import FastAPI

from callboard_gateway.event_streams import OPEN, EventStreamResponse
from callboard_gateway.metric_table import METRICS
from callboard_gateway.metrics import MetricsSettings, serving
from callboard_shared.ids import new_id
from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import Ended, NewJob, verbs
from callboard_shared.ledger.metering import Tally

from_process = ("process_",)
"""What prometheus_client itself tells of the process."""


def promised() -> dict[str, set[str]]:
    found = {}
    for one in METRICS:
        for series in one.series():
            found[series] = set(one.labels) | ({"le"} if series.endswith("_bucket") else set())
    return found


def samples(text: str) -> dict[str, dict[str, float]]:
    """name -> labels -> value."""
    found: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line):
            found.setdefault(match[1], {})[match[2] or ""] = float(match[3])
    return found


async def scraped(client: httpx.AsyncClient) -> dict[str, dict[str, float]]:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    return samples(answer.text)


FACTS = {
    "clock_ms": 1_000, "memory_bytes": 5, "cpu_s": 1.5, "disk_free_bytes": 7,
    "gpus": [{"index": 0, "name": "NVIDIA X", "used_bytes": 3, "total_bytes": 4}],
}  # fmt: skip


async def a_worker_that_tells_all(ledger: Any) -> None:
    """Runs a job as a worker does, with what only a worker counts."""
    tally = Tally()
    tally.observe("provider", ("openai", "ok"), 120)
    tally.observe("load", ("all-MiniLM-L6-v2",), 700)
    beat = verbs.beat(
        "system", "system@test", 60_000, host="here", pid=1, slots=2, models=[], facts=orjson.dumps(FACTS)
    )
    job = NewJob(new_id("job"), "system.echo", "system", "key_a", b'{"input":{}}')
    await ledger.run_many([beat, verbs.submit("system", [job])])
    claim = verbs.claim("system", "system@test#1", limits={}, max_jobs=1, lease_ms=9_000)
    (claimed,) = (await ledger.run(claim)).jobs
    ended = [Ended(claimed.id, claimed.attempt, "succeeded", b"{}")]
    finish = verbs.finish("system", "system@test#1", ended, 1, tally.take())
    await ledger.run(finish)
    await ledger.run(finish)  # an answer that was lost on the way: counted once


async def test_the_names_and_labels_are_the_promised_ones(client: httpx.AsyncClient, gateway: Any) -> None:
    await client.get("/v1/job-types")
    await a_worker_that_tells_all(gateway.app.state.ledger)
    found = {
        name: rows for name, rows in (await scraped(client)).items() if not name.startswith(from_process)
    }
    labels = {
        name: {part.split("=")[0] for row in rows for part in row.split('",') if part}
        for name, rows in found.items()
    }
    assert labels == promised()


async def test_what_a_job_went_through_is_counted_once(client: httpx.AsyncClient, gateway: Any) -> None:
    await a_worker_that_tells_all(gateway.app.state.ledger)
    found = await scraped(client)
    echo = 'name="system.echo",queue_name="system"'
    for name in ("sent", "started", "succeeded"):
        assert found[f"celery_task_{name}_total"][echo] == 1
    assert found["celery_task_failed_total"][echo] == 0
    assert found["celery_task_runtime_count"][echo] == 1
    job = 'queue="system",type="system.echo"'
    assert found["callboard_job_wait_seconds_count"][job] == found["callboard_batch_jobs_count"][job] == 1
    assert found["callboard_batch_jobs_sum"][job] == 1
    provider = 'outcome="ok",provider="openai"'
    assert found["callboard_provider_request_seconds_count"][provider] == 1
    assert found["callboard_provider_request_seconds_sum"][provider] == 0.12
    buckets = found["callboard_model_load_seconds_bucket"]
    model = 'model="all-MiniLM-L6-v2"'
    assert [buckets[f'le="{le}",{model}'] for le in ("0.5", "1", "+Inf")] == [0, 1, 1]
    assert found["callboard_gpu_memory_bytes"]['gpu="0",host="here"'] == 4
    assert found["callboard_worker_clock_skew_seconds"]['queue="system",worker="system@test"'] < -1e9


async def test_a_job_that_is_lost_tried_again_canceled_or_expired_is_seen(
    client: httpx.AsyncClient, gateway: Any
) -> None:
    ledger = gateway.app.state.ledger
    jobs = [NewJob(new_id("job"), "system.echo", "system", "key_a", b"{}") for _ in range(4)]
    await ledger.run(verbs.submit("system", jobs))
    claim = verbs.claim("system", "w#1", limits={"system.echo": (2, 0)}, max_jobs=2, lease_ms=9_000)
    again, lost = (await ledger.run(claim)).jobs
    await ledger.run(
        verbs.finish("system", "w#1", [Ended(again.id, 1, "retry", error=b"{}", delay_ms=60_000)])
    )
    await ledger.run(verbs.lost("system", "w#1"))
    await ledger.run(verbs.finish("system", "w#1", [Ended(lost.id, 1, "succeeded", b"{}")]))  # too late
    await ledger.run(verbs.cancel(jobs[2].id, "system"))
    found = await scraped(client)
    echo, job = 'name="system.echo",queue_name="system"', 'queue="system",type="system.echo"'
    assert found["celery_task_retried_total"][echo] == 1
    assert found["callboard_lease_losses_total"][job] == 1
    assert found["callboard_queue_stale_commits_total"]['queue="system"'] == 1
    assert found["celery_task_revoked_total"][f'{echo},reason="canceled"'] == 1
    assert found["celery_task_revoked_total"][f'{echo},reason="expired"'] == 0
    assert found["callboard_batch_jobs_bucket"][f'le="2",{job}'] == 1


async def test_no_series_tells_a_job_a_key_or_a_user(client: httpx.AsyncClient, gateway: Any) -> None:
    await a_worker_that_tells_all(gateway.app.state.ledger)
    text = (await client.get("/metrics")).text
    assert not re.findall(r"\b(job|key|file|pipe|batch)_[0-9A-HJKMNP-TV-Z]{26}", text) and "key_a" not in text


async def test_open_streams_are_counted_while_they_are_open(client: httpx.AsyncClient, gateway: Any) -> None:
    async def frames() -> Any:
        yield b"one"
        seen.append(OPEN.count)

    async def nothing() -> Any:
        await asyncio.Event().wait()

    async def taken(message: Any) -> None:
        return None

    before, seen = OPEN.count, []
    await EventStreamResponse(frames(), 5)({"path": "/"}, nothing, taken)
    assert seen == [before + 1] and OPEN.count == before


async def test_every_queue_has_its_figures_at_the_moment_of_the_scrape(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await client.post("/v1/jobs", json={"type": "system.echo", "input": {}})
    await client.post("/v1/queues/nlp/pause")
    found = await scraped(client)
    assert len(found["callboard_queue_ready"]) == len(QUEUES)
    assert found["callboard_queue_ready"]['queue="system"'] == 3
    assert found["callboard_queue_oldest_wait_seconds"]['queue="system"'] > 0
    assert found["callboard_queue_paused"]['queue="nlp"'] == 1


async def test_webhooks_are_counted_by_outcome_and_what_waits_is_seen(
    client: httpx.AsyncClient, gateway: Any
) -> None:
    webhook = {"url": "https://example.com/hook", "events": ["job.canceled"]}
    job = (
        await client.post("/v1/jobs", json={"type": "system.echo", "input": {}, "webhook": webhook})
    ).json()
    await client.post(job["links"]["cancel"])
    await gateway.app.state.ledger.redis.hset("cb:{hooks}:counters", "delivered", 7)
    found = await scraped(client)
    assert found["callboard_outbox_rows"]['queue="system"'] == 1
    assert 0 <= found["callboard_outbox_oldest_seconds"]['queue="system"'] < 60
    assert found["callboard_outbox_rows"]['queue="nlp"'] == found["callboard_webhook_tries"][""] == 0
    outcomes = found["callboard_webhook_deliveries_total"]
    assert outcomes['outcome="delivered"'] == 7 and outcomes['outcome="exhausted"'] == 0


async def test_requests_are_counted_by_the_routes_template(client: httpx.AsyncClient, gateway: Any) -> None:
    job = (await client.post("/v1/jobs", json={"type": "system.echo", "input": {}})).json()["id"]
    await client.get(f"/v1/jobs/{job}")
    await client.get("/v1/jobs/job_00000000000000000000000000")
    await client.get("/no/such/page")
    await client.get("/static/console.css")
    static = 'method="GET",route="/static",status="200"'
    async with asyncio.timeout(
        10
    ):  # a request counts when its answer is all sent, which its client may see first
        while static not in (found := (await scraped(client))["callboard_http_requests_total"]):
            await asyncio.sleep(0.01)
    assert found['method="POST",route="/v1/jobs",status="202"'] == 1
    assert found['method="GET",route="/v1/jobs/{job_id}",status="200"'] == 1
    assert found['method="GET",route="/v1/jobs/{job_id}",status="404"'] == 1
    assert found['method="GET",route="unmatched",status="404"'] == 1
    assert found[static] == 1
    assert job not in str(found)


async def test_strange_methods_make_no_new_series(client: httpx.AsyncClient) -> None:
    for method in ("PROPFIND", "LOCK", "MKCOL"):
        await client.request(method, "/")
    found = (await scraped(client))["callboard_http_requests_total"]
    assert {re.findall(r'method="(\w+)"', row)[0] for row in found} == {"other"}


async def test_the_metrics_want_an_admins_key(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, gateway: Any
) -> None:
    assert (await stranger.get("/metrics")).status_code == 403
    async with gateway.client("") as nobody:
        assert (await nobody.get("/metrics")).status_code == 401


async def test_on_a_port_of_their_own_the_metrics_want_no_key(
    client: httpx.AsyncClient, gateway: Any
) -> None:
    app: FastAPI = gateway.app
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    other = FastAPI()
    other.state.ledger, other.state.metrics = app.state.ledger, type(app.state.metrics)()
    with serving(other, MetricsSettings(metrics_port=port)):
        async with httpx.AsyncClient() as scraper:
            found = samples((await scraper.get(f"http://127.0.0.1:{port}/metrics")).text)
    assert found["callboard_ledger_up"][""] == 1
    assert len(found["callboard_queue_ready"]) == len(QUEUES)


async def test_a_scrape_without_the_ledger_says_so_and_still_counts(
    client: httpx.AsyncClient, gateway: Any
) -> None:
    await scraped(client)

    async def away(calls: Any) -> list[Any]:
        from callboard_shared.errors import LedgerUnavailable

        raise LedgerUnavailable("away")

    gateway.app.state.ledger.run_many = away
    found = await asyncio.wait_for(scraped(client), 5)
    assert found["callboard_ledger_up"][""] == 0
    assert "callboard_queue_ready" not in found
    assert found["callboard_http_requests_total"]
