"""Fences: what belongs to another key is not there, without a key there is nothing, and a scope opens what it names.

All three are made from the OpenAPI document, so that no new route can be forgotten: one whose path holds an id that
``possessions`` does not know fails here, and says what to add.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from house import House
from possessions import BODIES, ECHO, MARK, OWNED, SHARED, conversation, file, job, model, waiting_job
from pydantic import SecretStr

from callboard_gateway.app import create_app
from callboard_gateway.settings import GatewaySettings

PUBLIC = {
    "health": "whether the process lives, for whoever watches it",
    "readiness": "whether the ledger and workers are there, for whoever watches them",
    "receive_webhook": "a receiver of webhooks (embedded stack only): it is signed or it is shown as unsigned",
}
"""The operations that take no key, and why."""
SCOPES = ("jobs:read", "jobs:write", "admin")


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    id: str
    scope: str | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    def at(self, *values: str) -> str:
        """The path with these in the place of its parameters."""
        given = iter(values)
        return re.sub(r"{\w+}", lambda _: next(given), self.path)


def _operations() -> Iterator[Operation]:
    app = create_app(GatewaySettings(admin_key=SecretStr("cb_x"), webhook_inbox=True))
    for path, item in app.openapi()["paths"].items():
        for method, told in item.items():
            security = told.get("security") or []
            scopes = security[0]["ApiKey"] if security else []
            yield Operation(method.upper(), path, told["operationId"], scopes[0] if scopes else None)


OPERATIONS = list(_operations())
WITH_IDS = [one for one in OPERATIONS if one.parameters]
LISTS = [one for one in OPERATIONS if one.method == "GET" and not one.parameters and one.id not in PUBLIC]


@pytest.fixture(scope="module")
def owner(house: House) -> httpx.Client:
    return house.key("jobs:read", "jobs:write")


@pytest.fixture(scope="module")
def stranger(house: House) -> httpx.Client:
    return house.key("jobs:read", "jobs:write")


@pytest.fixture(scope="module")
def with_scopes(house: House) -> dict[str, httpx.Client]:
    return {scope: house.key(scope) for scope in SCOPES}


def status_of(client: httpx.Client, operation: Operation, path: str) -> tuple[int, str]:
    """The status, and of an answer that ends its text: a stream's first bytes are not waited for."""
    with client.stream(operation.method, path, **BODIES.get(operation.id, {})) as answer:
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            return answer.status_code, ""
        return answer.status_code, answer.read().decode("utf-8", "replace")


def maker_of(operation: Operation) -> Any:
    """How to make what the path names; None where that is nobody's own."""
    if operation.path in SHARED:
        return None
    assert operation.path in OWNED, (
        f"{operation} is new, and nothing says whose '{operation.parameters[0]}' is. In tests/security/possessions.py add "
        f"the path to OWNED, with a function that makes one for a key; or to SHARED, with the reason why it is no key's own."
    )
    return OWNED[operation.path]


@pytest.mark.parametrize("operation", WITH_IDS, ids=str)
def test_what_belongs_to_another_key_is_not_there(
    house: House, owner: httpx.Client, stranger: httpx.Client, operation: Operation
) -> None:
    make = maker_of(operation)
    if make is None:
        return
    path = operation.at(make(house, owner))
    said, text = status_of(stranger, operation, path)
    nothing, same = status_of(stranger, operation, operation.at(_unknown(path)))
    assert said == 404, (
        f"{operation}: a stranger is told {said}: {text[:200]}. If it is the body that is refused, say in "
        "possessions.BODIES what the operation takes."
    )
    assert MARK not in text
    assert (nothing, _but_ids(same)) == (said, _but_ids(text)), "it can be told from one that does not exist"
    now, told = status_of(owner, operation, path)
    assert now not in (401, 403, 404, 405, 422), (
        f"{operation} shows nothing: for its owner it is {now}, {told[:300]}"
    )


def _unknown(path: str) -> str:
    """An id of the same kind of something that there is not."""
    (last,) = re.findall(r"[a-z]+_[0-9a-z]{26}|mine-\w+@1", path)
    return "mine-nothing@1" if "@" in last else f"{last.partition('_')[0]}_01m82k33kretkv5g41ez9s8tdg"


def _but_ids(text: str) -> str:
    return re.sub(r"[a-z]+_[0-9a-z]{26}|mine-\w+@1|\b[0-9a-f]{32}\b", "…", text)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_without_a_key_there_is_nothing_but_what_is_public(house: House, operation: Operation) -> None:
    path = operation.at(*("x" for _ in operation.parameters))
    answers = [
        status_of(client, operation, path)
        for client in (house.nobody, house.client("cb_testtest_" + "x" * 43), house.client("x"))
    ]
    if operation.id in PUBLIC:
        assert operation.scope is None and all(said < 400 for said, _ in answers)
    else:
        assert [said for said, _ in answers] == [401] * 3
        assert len({_but_ids(text) for _, text in answers}) == 1


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.id not in PUBLIC], ids=str)
def test_a_scope_opens_what_it_names_and_no_more(
    with_scopes: dict[str, httpx.Client], operation: Operation
) -> None:
    assert operation.scope in SCOPES, (
        f"The OpenAPI document names no scope for {operation}: let its route take Depends(require(…))."
    )
    path = operation.at(*("nothing-of-the-kind" for _ in operation.parameters))
    for scope, client in with_scopes.items():
        said, text = status_of(client, operation, path)
        refused = scope not in (operation.scope, "admin")
        assert (said == 403) == refused, f"{operation} says {said} to a key with {scope}: {text[:200]}"
        assert said != 401


@pytest.fixture(scope="module")
def everything(house: House, owner: httpx.Client) -> list[str]:
    """One of all that can be owned; their ids and names."""
    return [make(house, owner) for make in dict.fromkeys(OWNED.values())]


@pytest.mark.parametrize("operation", [one for one in LISTS if one.id != "stream_events"], ids=str)
def test_no_list_shows_what_is_another_keys(
    house: House, stranger: httpx.Client, everything: list[str], operation: Operation
) -> None:
    """An admin lists keys, and what admins did; nothing else of others."""
    asking = house.admin if operation.scope == "admin" else stranger
    answer = asking.get(operation.path)
    assert answer.status_code == 200
    assert MARK not in answer.text
    assert [one for one in everything if one in answer.text] == []


def test_the_stream_of_all_jobs_tells_of_ones_own_alone(
    house: House, owner: httpx.Client, stranger: httpx.Client
) -> None:
    with stranger.stream("GET", "/v1/events") as stream:
        lines = stream.iter_lines()
        next(lines)  # it has begun
        theirs = waiting_job(house, owner)
        job(house, owner)
        mine = job(house, stranger)
        seen = []
        for line in lines:
            seen.append(line)
            if mine in line and "succeeded" in line:
                break
    assert theirs not in "\n".join(seen) and MARK not in "\n".join(seen)
    assert set(re.findall(r"job_[0-9a-z]{26}", "\n".join(seen))) == {mine}


NAMED = {
    "a file as input": lambda house, owner: {
        "type": "nlp.word2vec.train", "input": {"file": {"file_id": file(house, owner)}},
    },
    "a picture": lambda house, owner: {"type": "vision.detect", "input": {"image": {"file_id": file(house, owner)}}},
    "a job to wait for": lambda house, owner: {**ECHO, "input": {}, "after": [job(house, owner)]},
    "a conversation": lambda house, owner: {
        "type": "llm.chat", "input": {"conversation_id": conversation(house, owner), "message": "hello"},
    },
    "a model": lambda house, owner: {
        "type": "nlp.embed", "input": {"texts": ["a"], "model": model(house, owner)},
    },
}  # fmt: skip


@pytest.mark.parametrize("what", NAMED)
def test_what_a_body_names_of_another_key_is_not_there(
    house: House, owner: httpx.Client, stranger: httpx.Client, what: str
) -> None:
    body = NAMED[what](house, owner)
    for path, whole in (
        ("/v1/jobs", body),
        ("/v1/jobs:batch", {"jobs": [body]}),
        ("/v1/pipelines", {"steps": {"a": {k: v for k, v in body.items() if k != "after"}}}),
    ):
        if path == "/v1/pipelines" and "after" in body:
            continue
        answer = stranger.post(path, json=whole)
        told = answer.json()["data"][0] if path == "/v1/jobs:batch" else answer.json()
        assert told["status"] in (404, 422), told
        assert MARK not in answer.text


def test_a_batch_of_another_keys_file_is_refused(
    house: House, owner: httpx.Client, stranger: httpx.Client
) -> None:
    theirs = file(house, owner, b'{"type": "system.echo", "input": {}}')
    assert stranger.post("/v1/batches", json={"file_id": theirs}).status_code == 422
    asked = {"input_file_id": theirs, "endpoint": "/v1/embeddings", "completion_window": "24h"}
    assert stranger.post("/openai/v1/batches", json=asked).status_code in (400, 404, 422)
