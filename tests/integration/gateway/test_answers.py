"""What holds for every answer: problems, ids, headers, limits; and the OpenAPI document that promises them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import structlog

from callboard_gateway.schemas import Job
from callboard_shared.jobs import CATALOGUE

ECHO = {"type": "system.echo", "input": {"value": 1}}
KEY = "cb_testtest_" + "k" * 43
JSON = {"Content-Type": "application/json"}


def check_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"urn:callboard:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert isinstance(problem["retryable"], bool)
    assert problem["instance"] == answer.request.url.path
    assert re.fullmatch(r"[0-9a-f]{32}", problem["trace_id"])
    assert answer.headers["x-request-id"]
    return problem


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nowhere", None, 404, "not-found"),
        ("GET", "/v1/jobs/", None, 404, "not-found"),
        ("GET", "/v1/nothing", None, 404, "not-found"),
        ("PATCH", "/v1/jobs", None, 405, "method-not-allowed"),
        ("GET", "/v1/jobs:batch", None, 405, "method-not-allowed"),
        ("POST", "/v1/jobs", b"{", 400, "malformed"),
        ("POST", "/v1/jobs", b"[" * 100_000, 400, "malformed"),
        ("POST", "/v1/jobs", b'{"type":"system.echo","input":{"value":' + b"[" * 120 + b"]" * 120 + b"}}", 400, "malformed"),
        ("POST", "/v1/jobs", b"[]", 422, "validation"),
        ("POST", "/v1/jobs", b'{"type":"system.echo","input":{"value":NaN}}', 422, "validation"),
        ("POST", "/v1/jobs", b'{"type":"nlp.embed","input":{"texts":["\\ud800"]}}', 422, "validation"),
        ("POST", "/v1/jobs", b'{"type":"system.echo","input":{},"webhook":{"url":"https://10.0.0.1/"}}', 422, "url-not-allowed"),
        ("POST", "/v1/keys", b"{", 400, "malformed"),
        ("GET", "/v1/jobs?limit=x", None, 422, "validation"),
    ],
)  # fmt: skip
async def test_every_error_is_a_problem(
    client: httpx.AsyncClient, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    answer = await client.request(method, path, content=body, headers=JSON if body else {})
    check_problem(answer, status, code)
    if status == 405:
        assert answer.headers["allow"]
    if code == "validation" and body != b"[]":
        assert answer.json()["errors"][0].keys() == {"field", "message", "code"}


async def test_a_wrong_method_is_told_all_that_are_right(client: httpx.AsyncClient) -> None:
    assert (await client.patch("/v1/jobs")).headers["allow"] == "GET, POST"


async def test_other_content_than_json_is_415(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs", content=b"{}", headers={"Content-Type": "text/plain"})
    check_problem(answer, 415, "unsupported-media-type")


async def test_a_bug_is_500_and_says_nothing_of_its_cause(gateway: Any, client: httpx.AsyncClient) -> None:
    async def broken(*_: Any) -> None:
        raise ZeroDivisionError("the secret")

    gateway.app.state.desk.find = broken
    with structlog.testing.capture_logs() as logs:
        answer = await client.get("/v1/jobs/job_01m82k33kretkv5g41ez9s8tdg")
    problem = check_problem(answer, 500, "internal")
    assert "secret" not in answer.text
    assert "ZeroDivisionError" not in answer.text
    assert [(one["error"], one["trace_id"]) for one in logs] == [("ZeroDivisionError", problem["trace_id"])]


async def test_a_request_id_is_the_callers_if_it_is_a_sane_one(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz", headers={"X-Request-Id": "abc-1"})).headers[
        "x-request-id"
    ] == "abc-1"
    for bad in ("a b", "x" * 129, "<script>"):
        assert (await client.get("/healthz", headers={"X-Request-Id": bad})).headers["x-request-id"] != bad


async def test_a_trace_goes_on(client: httpx.AsyncClient, worker: Any) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await client.get("/nowhere", headers={"traceparent": parent})
    assert answer.json()["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    await client.post("/v1/jobs", json=ECHO, headers={"traceparent": parent})
    (claimed,) = await worker.claim()
    assert parent.encode() in claimed.spec


@pytest.mark.parametrize("path", ["/healthz", "/v1/queues", "/nowhere", "/v1/jobs"])
async def test_every_answer_has_security_headers(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"


class TestABodyOverItsLimit:
    @pytest.fixture
    async def web(self, served: str) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"Authorization": f"Bearer {KEY}", **JSON}
        async with httpx.AsyncClient(base_url=served, headers=headers, timeout=20) as client:
            yield client

    @pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs:batch"])
    async def test_is_413_by_its_length(self, web: httpx.AsyncClient, path: str) -> None:
        answer = await web.post(path, content=b" " * (8 * 1024 * 1024 + 1))
        check_problem(answer, 413, "too-large")

    async def test_is_413_while_it_still_arrives(self, web: httpx.AsyncClient) -> None:
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            while sent < 2**30:
                sent += 2**16
                yield b" " * 2**16

        with suppress(httpx.TransportError):  # who never reads may find the connection closed
            check_problem(await web.post("/v1/jobs", content=endless()), 413, "too-large")
        assert sent < 100 * 2**20

    async def test_is_413_when_it_comes_in_chunks(self, web: httpx.AsyncClient) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(12):
                yield b" " * 2**20

        check_problem(await web.post("/v1/jobs", content=chunks()), 413, "too-large")

    async def test_leaves_the_gateway_as_it_was(self, web: httpx.AsyncClient) -> None:
        big = await web.post("/v1/jobs", json={"type": "system.echo", "input": {"value": "x" * 7_000_000}})
        assert big.status_code == 202
        assert big.json()["input"]["value"] == "x" * 7_000_000


class TestTheOpenApiDocument:
    @pytest.fixture
    async def document(self, client: httpx.AsyncClient) -> Any:
        return (await client.get("/openapi.json")).json()

    async def test_names_every_operation_once_and_tidily(self, document: Any) -> None:
        ids = [op["operationId"] for item in document["paths"].values() for op in item.values()]
        assert len(ids) == len(set(ids))
        assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", one) for one in ids), ids
        assert {
            "submit_job",
            "submit_jobs",
            "list_jobs",
            "get_job",
            "stream_job_events",
            "stream_events",
            "cancel_job",
        } <= set(ids)

    async def test_shows_the_problem_and_the_headers_on_every_operation(self, document: Any) -> None:
        for path, item in document["paths"].items():
            for operation in item.values():
                said = "application/json" if path.startswith("/openai/") else "application/problem+json"
                assert list(operation["responses"]["default"]["content"]) == [said], path
                assert all(
                    "X-Request-Id" in answer["headers"] for answer in operation["responses"].values()
                ), path
                assert operation["summary"], path

    async def test_asks_for_a_key_where_one_is_needed(self, document: Any) -> None:
        scheme = document["components"]["securitySchemes"]["ApiKey"]
        assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
        for path, item in document["paths"].items():
            for operation in item.values():
                assert bool(operation.get("security")) == (path not in ("/healthz", "/readyz")), path

    async def test_has_every_job_type_with_its_example(self, document: Any) -> None:
        schemas = document["components"]["schemas"]
        mapping = schemas["Submission"]["discriminator"]["mapping"]
        assert sorted(mapping) == sorted(CATALOGUE.names)
        examples = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"][
            "examples"
        ]
        assert list(examples) == CATALOGUE.names
        for reference in mapping.values():
            assert reference.rpartition("/")[2] in schemas

    async def test_refers_to_nothing_that_it_does_not_hold(self, document: Any) -> None:
        schemas = document["components"]["schemas"]
        for name in re.findall(r"#/components/schemas/([^'\"]+)", str(document)):
            assert name in schemas

    async def test_the_examples_are_accepted(self, document: Any, client: httpx.AsyncClient) -> None:
        for operation in (document["paths"]["/v1/jobs"]["post"], document["paths"]["/v1/jobs:batch"]["post"]):
            path = "/v1/jobs:batch" if operation["operationId"] == "submit_jobs" else "/v1/jobs"
            for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
                answer = await client.post(path, json=example["value"])
                assert answer.status_code == 202, answer.text

    async def test_the_job_is_as_promised(self, client: httpx.AsyncClient, worker: Any) -> None:
        made = (await client.post("/v1/jobs", json=ECHO)).json()
        required = {name for name, field in Job.model_fields.items() if field.is_required()}
        assert required <= made.keys() <= Job.model_fields.keys()
        await worker.run_one()
        Job.model_validate((await client.get(made["links"]["self"])).json())


async def test_nothing_holds_up_the_loop(gateway: Any, client: httpx.AsyncClient) -> None:
    """While a large batch is read, another request is answered."""
    jobs = [{"type": "nlp.embed", "input": {"texts": ["word " * 200]}}] * 1000
    batch = asyncio.create_task(client.post("/v1/jobs:batch", json={"jobs": jobs}))
    await asyncio.sleep(0)
    assert (await client.get("/healthz")).status_code == 200
    assert not batch.done()
    assert (await batch).status_code == 202
