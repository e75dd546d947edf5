from __future__ import annotations

import asyncio
import re
import socket
from typing import Any

import httpx
from fastapi import FastAPI

from callboard_gateway.metrics import MetricsSettings, serving
from callboard_shared.jobs import QUEUES

PROMISED = {
    "callboard_http_requests_total": {"method", "route", "status"},
    "callboard_http_request_duration_seconds_bucket": {"method", "route", "le"},
    "callboard_http_request_duration_seconds_sum": {"method", "route"},
    "callboard_http_request_duration_seconds_count": {"method", "route"},
    "callboard_build_info": {"version", "python"},
    "callboard_ledger_up": set(),
    "callboard_queue_ready": {"queue"},
    "callboard_queue_running": {"queue"},
    "callboard_queue_scheduled": {"queue"},
    "callboard_queue_blocked": {"queue"},
    "callboard_queue_workers": {"queue"},
    "callboard_queue_slots": {"queue"},
    "callboard_queue_oldest_wait_seconds": {"queue"},
    "callboard_queue_paused": {"queue"},
    "callboard_queue_stale_commits_total": {"queue"},
}


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


async def test_the_names_and_labels_are_the_promised_ones(client: httpx.AsyncClient) -> None:
    await client.get("/v1/job-types")
    found = {name: rows for name, rows in (await scraped(client)).items() if name.startswith("callboard_")}
    labels = {
        name: {part.split("=")[0] for row in rows for part in row.split('",') if part}
        for name, rows in found.items()
    }
    assert labels == PROMISED


async def test_every_queue_has_its_figures_at_the_moment_of_the_scrape(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await client.post("/v1/jobs", json={"type": "system.echo", "input": {}})
    await client.post("/v1/queues/nlp/pause")
    found = await scraped(client)
    assert len(found["callboard_queue_ready"]) == len(QUEUES)
    assert found["callboard_queue_ready"]['queue="system"'] == 3
    assert found["callboard_queue_oldest_wait_seconds"]['queue="system"'] > 0
    assert found["callboard_queue_paused"]['queue="nlp"'] == 1


async def test_requests_are_counted_by_the_routes_template(client: httpx.AsyncClient, gateway: Any) -> None:
    job = (await client.post("/v1/jobs", json={"type": "system.echo", "input": {}})).json()["id"]
    await client.get(f"/v1/jobs/{job}")
    await client.get("/v1/jobs/job_00000000000000000000000000")
    await client.get("/no/such/page")
    await client.get("/static/console.css")
    found = (await scraped(client))["callboard_http_requests_total"]
    assert found['method="POST",route="/v1/jobs",status="202"'] == 1
    assert found['method="GET",route="/v1/jobs/{job_id}",status="200"'] == 1
    assert found['method="GET",route="/v1/jobs/{job_id}",status="404"'] == 1
    assert found['method="GET",route="unmatched",status="404"'] == 1
    assert found['method="GET",route="/static",status="200"'] == 1
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
