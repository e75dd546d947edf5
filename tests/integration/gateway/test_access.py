"""Keys: who gets in, who does not, and that all refusals look alike."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from callboard_shared.access import new_key, new_secret, put_key, put_session

ECHO = {"type": "system.echo", "input": {"value": 1}}
ADMIN_KEY = "cb_testtest_" + "k" * 43


async def test_every_refused_key_gets_the_same_answer(gateway: Any, client: httpx.AsyncClient) -> None:
    revoked = (await client.post("/v1/keys", json={"name": "r"})).json()
    record, expired = new_key("e", ["jobs:read"], 0, expires_ms=1)
    await gateway.app.state.ledger.run(put_key(record, expired))
    assert (await gateway.with_key(revoked["key"]).get("/v1/jobs")).status_code == 200
    await client.delete(f"/v1/keys/{revoked['id']}")
    headers = [
        {}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer x"},
        {"Authorization": f"Basic {ADMIN_KEY}"}, {"Authorization": f"Bearer {ADMIN_KEY}x"},
        {"Authorization": f"Bearer {revoked['key']}"}, {"Authorization": f"Bearer {expired}"},
        {"Authorization": f"Bearer {'x' * 10_000}"}, {"Cookie": "callboard_session=nope"},
    ]  # fmt: skip
    bodies = set()
    nobody = gateway.with_key(None)
    for one in headers:
        for method, path in [("GET", "/v1/jobs"), ("POST", "/v1/jobs")]:
            answer = await nobody.request(method, path, headers=one)
            assert answer.status_code == 401, one
            assert answer.headers["www-authenticate"] == "Bearer"
            body = {name: value for name, value in answer.json().items() if name != "trace_id"}
            bodies.add(str(body))
    assert len(bodies) == 1
    assert "'code': 'unauthorized'" in bodies.pop()


async def test_a_deleted_key_is_refused_at_once(gateway: Any, client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/keys", json={"name": "short-lived"})).json()
    async with gateway.with_key(made["key"]) as other:
        assert (await other.get("/v1/jobs")).status_code == 200
        assert (await client.delete(f"/v1/keys/{made['id']}")).status_code == 204
        assert (await other.get("/v1/jobs")).status_code == 401


async def test_a_scope_opens_only_what_it_names(gateway: Any) -> None:
    async with await gateway.key("jobs:read") as reader, await gateway.key("jobs:write") as writer:
        for method, path, needs in [
            ("GET", "/v1/jobs", "read"), ("GET", "/v1/job-types", "read"), ("GET", "/v1/models", "read"),
            ("GET", "/v1/queues", "read"), ("GET", "/v1/workers", "read"), ("GET", "/v1/usage", "read"),
            ("POST", "/v1/jobs", "write"), ("POST", "/v1/jobs:batch", "write"), ("POST", "/v1/jobs/x/cancel", "write"),
            ("POST", "/v1/jobs/x/retry", "write"), ("DELETE", "/v1/jobs/x", "write"),
            ("GET", "/v1/keys", "admin"), ("POST", "/v1/keys", "admin"), ("DELETE", "/v1/keys/x", "admin"),
            ("POST", "/v1/queues/nlp/pause", "admin"), ("GET", "/metrics", "admin"),
        ]:  # fmt: skip
            read = (await reader.request(method, path)).status_code
            write = (await writer.request(method, path)).status_code
            assert (read == 403) == (needs != "read"), path
            assert (write == 403) == (needs != "write"), path


async def test_an_admin_may_all_that_the_others_may(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/jobs", json=ECHO)).status_code == 202
    assert (await client.get("/v1/jobs")).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs"])
async def test_some_pages_are_open(gateway: Any, path: str) -> None:
    assert (await gateway.with_key(None).get(path)).status_code == 200


class TestKeys:
    async def test_a_key_is_shown_once_and_listed_without_it(
        self, client: httpx.AsyncClient, valkey_url: str
    ) -> None:
        asked = {"name": "web shop", "scopes": ["jobs:read"], "expires_at": "2099-01-01T00:00:00Z"}
        answer = await client.post("/v1/keys", json=asked)
        made = answer.json()
        assert answer.status_code == 201
        assert re.fullmatch(r"cb_[a-z2-7]{8}_[A-Za-z0-9_-]{43}", made["key"])
        assert made["key"].startswith(made["prefix"])
        assert (made["scopes"], made["expires_at"]) == (["jobs:read"], "2099-01-01T00:00:00.000Z")
        read = await client.get(answer.headers["location"])
        del made["key"]
        assert read.json() == made
        listed = (await client.get("/v1/keys")).json()
        assert made in listed["data"]
        assert all("key" not in one and "sha256" not in one for one in listed["data"])

    async def test_the_list_goes_on_by_cursor(self, client: httpx.AsyncClient) -> None:
        for name in "abc":
            await client.post("/v1/keys", json={"name": name})
        first = (await client.get("/v1/keys?limit=2")).json()
        assert [one["name"] for one in first["data"]][:1] == ["c"] or len(first["data"]) == 2
        second = (await client.get("/v1/keys", params={"limit": 2, "cursor": first["next_cursor"]})).json()
        ids = [one["id"] for one in first["data"] + second["data"]]
        assert len(set(ids)) == 4
        assert second["next_cursor"] is None

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "name"), ({"name": ""}, "name"), ({"name": "a\nb"}, "name"), ({"name": "a", "scopes": []}, "scopes"),
            ({"name": "a", "scopes": ["root"]}, "scopes.0"), ({"name": "a", "x": 1}, "x"),
            ({"name": "a", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
            ({"name": "a", "expires_at": "soon"}, "expires_at"),
        ],
    )  # fmt: skip
    async def test_a_wrong_key_is_refused(self, client: httpx.AsyncClient, body: Any, field: str) -> None:
        answer = await client.post("/v1/keys", json=body)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == field

    async def test_the_key_of_the_setting_cannot_be_deleted(self, client: httpx.AsyncClient) -> None:
        (admin,) = (await client.get("/v1/keys")).json()["data"]
        answer = await client.delete(f"/v1/keys/{admin['id']}")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")

    async def test_a_key_that_there_is_not_is_404(self, client: httpx.AsyncClient) -> None:
        for path in ("/v1/keys/key_x", "/v1/keys/key_01m82k33kretkv5g41ez9s8tdg"):
            assert (await client.get(path)).status_code == 404
            assert (await client.delete(path)).status_code == 404


class TestASession:
    @pytest.fixture
    async def browser(self, gateway: Any, client: httpx.AsyncClient) -> httpx.AsyncClient:
        (admin,) = (await client.get("/v1/keys")).json()["data"]
        secret = new_secret()
        await gateway.app.state.ledger.run(put_session(secret, admin["id"]))
        browser: httpx.AsyncClient = gateway.with_key(None)
        browser.cookies.set("callboard_session", secret)
        return browser

    async def test_reads(self, browser: httpx.AsyncClient) -> None:
        assert (await browser.get("/v1/jobs")).status_code == 200

    async def test_acts_from_our_own_pages(self, browser: httpx.AsyncClient) -> None:
        for headers in [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://gateway"}]:
            assert (await browser.post("/v1/jobs", json=ECHO, headers=headers)).status_code == 202

    async def test_does_not_act_for_other_sites(self, browser: httpx.AsyncClient) -> None:
        for headers in [
            {}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"},
            {"Origin": "null"}, {"X-CSRF-Token": "guess"}, {"Sec-Fetch-Site": "cross-site", "Origin": "http://gateway"},
        ]:  # fmt: skip
            answer = await browser.post("/v1/jobs", json=ECHO, headers=headers)
            assert answer.status_code == 403, headers

    async def test_yields_to_a_key(self, gateway: Any, browser: httpx.AsyncClient) -> None:
        answer = await browser.get("/v1/jobs", headers={"Authorization": "Bearer nope"})
        assert answer.status_code == 401
