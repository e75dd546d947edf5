"""``/v1/conversations`` over a real ledger; the worker's side is played by the test."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest
from pydantic import BaseModel, SecretStr

from callboard_gateway.conversation_schemas import (
    ConversationList,
    ConversationMessage,
    ConversationObject,
    MessageList,
)
from callboard_gateway.settings import GatewaySettings
from callboard_shared.ids import new_id
from callboard_shared.ledger import AsyncLedger, ClaimedJob, Ended, verbs

QUEUE, RUNNER = "llm", "llm@test#1"


class Answerer:
    """Answers chats by hand."""

    def __init__(self, ledger: AsyncLedger) -> None:
        self.ledger = ledger

    async def take(self) -> ClaimedJob:
        call = verbs.claim(QUEUE, RUNNER, limits={"llm.chat": (1, 0)}, max_jobs=1, lease_ms=15_000)
        (job,) = (await self.ledger.run(call)).jobs
        return job

    async def answer(
        self, text: str, outcome: Any = "succeeded", job: ClaimedJob | None = None
    ) -> ClaimedJob:
        job = job or await self.take()
        message = {"message": {"role": "assistant", "content": text}}
        reply = orjson.dumps(
            {"content": text, "model": "m-1", "provider": "local", "finish_reason": "stop", "warnings": ["w"]}
        )
        ended = Ended(job.id, job.attempt, outcome, output=orjson.dumps(message), reply=reply, error=b"{}")
        answered = await self.ledger.run(verbs.finish(QUEUE, RUNNER, [ended]))
        assert answered.results == ["committed"]
        return job


@pytest.fixture
def llm(gateway: Any) -> Answerer:
    return Answerer(gateway.app.state.ledger)


async def begun(client: httpx.AsyncClient, **body: Any) -> str:
    made = await client.post("/v1/conversations", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def said(client: httpx.AsyncClient, talk: str, content: Any, **more: Any) -> dict[str, Any]:
    answer = await client.post(f"/v1/conversations/{talk}/messages", json={"content": content, **more})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def messages(client: httpx.AsyncClient, talk: str, **params: Any) -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/conversations/{talk}/messages", params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def test_a_conversation_is_made_and_read(client: httpx.AsyncClient) -> None:
    made = await client.post(
        "/v1/conversations", json={"title": "기차", "system": "Be brief.", "model": "gpt-4o"}
    )
    one = made.json()
    assert made.status_code == 201 and made.headers["location"] == f"/v1/conversations/{one['id']}"
    assert one["id"].startswith("conv_")
    assert (one["title"], one["model"], one["system"]) == ("기차", "gpt-4o", "Be brief.")
    assert (one["message_count"], one["running_job_id"]) == (0, None)
    read = (await client.get(f"/v1/conversations/{one['id']}")).json()
    assert read == {name: one[name] for name in one if name != "system"} | {"messages": []}


async def test_a_message_is_answered_with_its_chat_job(client: httpx.AsyncClient, llm: Answerer) -> None:
    talk = await begun(client)
    answer = await client.post(
        f"/v1/conversations/{talk}/messages", json={"content": "안녕?", "temperature": 0}
    )
    job = answer.json()
    assert answer.status_code == 202 and answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["type"], job["status"]) == ("llm.chat", "queued")
    assert job["input"] == {"conversation_id": talk, "message": "안녕?", "temperature": 0}
    await llm.answer("안녕하세요!")
    found = await messages(client, talk)
    assert [(one["role"], one["content"], one["job_id"], one["status"]) for one in found] == [
        ("user", "안녕?", job["id"], "answered"), ("assistant", "안녕하세요!", job["id"], "complete"),
    ]  # fmt: skip
    assert found[1]["model"] == "m-1" and all(one["created_at"].endswith("Z") for one in found)
    one = (await client.get(f"/v1/conversations/{talk}")).json()
    assert one["messages"] == found and one["message_count"] == 2 and one["title"] == "안녕?"


async def test_the_same_through_jobs(client: httpx.AsyncClient, llm: Answerer) -> None:
    talk = await begun(client)
    for message in ("one", {"role": "user", "content": "two"}, [{"type": "text", "text": "three"}]):
        chat = {"type": "llm.chat", "input": {"conversation_id": talk, "message": message}}
        assert (await client.post("/v1/jobs", json=chat)).status_code == 202
        await llm.answer("yes")
    contents = [one["content"] for one in await messages(client, talk) if one["role"] == "user"]
    assert contents == ["one", "two", [{"type": "text", "text": "three"}]]


async def test_a_request_may_wait_for_the_answer(client: httpx.AsyncClient, llm: Answerer) -> None:
    talk = await begun(client)
    path = f"/v1/conversations/{talk}/messages"
    asking = asyncio.create_task(client.post(path, json={"content": "Hello?"}, headers={"Prefer": "wait=10"}))
    async with asyncio.timeout(10):
        while not (await client.get(f"/v1/conversations/{talk}")).json()["running_job_id"]:
            await asyncio.sleep(0.01)
    await llm.answer("Hello!")
    answer = await asking
    assert answer.status_code == 200 and answer.headers["preference-applied"] == "wait=10"
    assert answer.json()["output"]["message"]["content"] == "Hello!"


async def test_a_second_message_is_409_with_the_job_that_answers(
    client: httpx.AsyncClient, llm: Answerer
) -> None:
    talk = await begun(client)
    job = await said(client, talk, "one")
    by_jobs = {"type": "llm.chat", "input": {"conversation_id": talk, "message": "two"}}
    for answer in (
        await client.post(f"/v1/conversations/{talk}/messages", json={"content": "two"}),
        await client.post("/v1/jobs", json=by_jobs),
    ):
        assert problem(answer) == (409, "conversation-busy")
        assert answer.json()["job_id"] == job["id"] and job["id"] in answer.json()["detail"]
    batch = (await client.post("/v1/jobs:batch", json={"jobs": [by_jobs]})).json()["data"]
    assert batch[0]["code"] == "conversation-busy"
    await llm.answer("1")
    await said(client, talk, "two")
    assert [one["content"] for one in await messages(client, talk)] == ["one", "1", "two"]


async def test_messages_sent_at_once_make_one_job(client: httpx.AsyncClient) -> None:
    talk = await begun(client)
    path = f"/v1/conversations/{talk}/messages"
    answers = await asyncio.gather(*(client.post(path, json={"content": str(n)}) for n in range(12)))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 11
    assert len(await messages(client, talk)) == 1


async def test_an_idempotency_key_says_it_once(client: httpx.AsyncClient, llm: Answerer) -> None:
    talk, other = await begun(client), await begun(client)
    key = {"Idempotency-Key": "m-1"}
    path = f"/v1/conversations/{talk}/messages"
    first = await client.post(path, json={"content": "once"}, headers=key)
    again = await client.post(path, json={"content": "once"}, headers=key)
    assert first.json()["id"] == again.json()["id"] and again.headers["idempotency-replayed"] == "true"
    await llm.answer("yes")
    ended = await client.post(path, json={"content": "once"}, headers=key)
    assert ended.status_code == 200 and ended.json()["id"] == first.json()["id"]
    assert len(await messages(client, talk)) == 2
    elsewhere = await client.post(
        f"/v1/conversations/{other}/messages", json={"content": "once"}, headers=key
    )
    assert problem(elsewhere) == (422, "idempotency-mismatch")


async def test_a_failed_message_is_marked_and_its_job_may_be_retried(
    client: httpx.AsyncClient, llm: Answerer
) -> None:
    talk = await begun(client)
    job = await said(client, talk, "Hello?")
    await llm.answer("half", outcome="failed")
    (failed,) = await messages(client, talk)
    assert (failed["status"], failed["job_id"]) == ("failed", job["id"])
    again = (await client.post(f"/v1/jobs/{job['id']}/retry")).json()
    assert again["retried_from"] == job["id"]
    await llm.answer("Hello!")
    found = await messages(client, talk)
    assert [(one["content"], one["status"], one["job_id"]) for one in found] == [
        ("Hello?", "answered", again["id"]), ("Hello!", "complete", again["id"]),
    ]  # fmt: skip


async def test_a_canceled_answer_is_kept_as_far_as_it_came(client: httpx.AsyncClient, llm: Answerer) -> None:
    talk = await begun(client)
    job = await said(client, talk, "All of it.")
    claimed = await llm.take()
    assert (await client.post(f"/v1/jobs/{job['id']}/cancel")).status_code == 202
    await llm.answer("In the beg", outcome="canceled", job=claimed)
    assert [one["status"] for one in await messages(client, talk)] == ["answered", "partial"]
    await said(client, talk, "Go on.")


async def test_the_system_message_is_shown_only_on_request(client: httpx.AsyncClient, llm: Answerer) -> None:
    talk = await begun(client, system="You are a pirate.")
    await said(client, talk, "Hello?")
    await llm.answer("Arr.")
    path = f"/v1/conversations/{talk}"
    for shown in (
        path,
        f"{path}/messages",
        f"{path}/export?format=md",
        f"{path}/export?format=json",
        "/v1/conversations",
    ):
        assert "pirate" not in (await client.get(shown)).text
    whole = (await client.get(f"{path}?include_system=true")).json()
    assert whole["system"] == "You are a pirate." and whole["messages"][0]["role"] == "system"
    first, *rest = await messages(client, talk, include_system=True, limit=1)
    assert (first["role"], first["content"], first["job_id"]) == ("system", "You are a pirate.", None)
    assert [one["role"] for one in rest] == ["user"]
    assert "pirate" in (await client.get(f"{path}/export?include_system=true")).text


async def test_messages_come_page_by_page_oldest_first(client: httpx.AsyncClient, llm: Answerer) -> None:
    talk = await begun(client)
    for number in range(3):
        await said(client, talk, f"q{number}")
        await llm.answer(f"a{number}")
    seen, cursor = [], None
    while True:
        params = {"limit": 4} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(f"/v1/conversations/{talk}/messages", params=params)).json()
        seen += [one["content"] for one in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["q0", "a0", "q1", "a1", "q2", "a2"]
    bad = await client.get(f"/v1/conversations/{talk}/messages?cursor=x")
    assert problem(bad) == (422, "validation")


async def test_the_list_is_newest_first_and_searched_by_title(client: httpx.AsyncClient) -> None:
    ids = [
        await begun(client, title=title)
        for title in ("Trains in Korea", "기차 여행", "Cooking", "trains again")
    ]
    first = (await client.get("/v1/conversations?limit=3")).json()
    rest = (await client.get("/v1/conversations", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert [one["id"] for one in first["data"] + rest["data"]] == ids[::-1] and rest["next_cursor"] is None
    for q, expected in (
        ("TRAINS", [3, 0]),
        ("기차", [1]),
        ("korea trains", [0]),
        ("nothing", []),
        ("", [3, 2, 1, 0]),
    ):
        found = (await client.get("/v1/conversations", params={"q": q})).json()["data"]
        assert [one["id"] for one in found] == [ids[number] for number in expected]
    assert problem(await client.get("/v1/conversations?cursor=1.conv_x")) == (422, "validation")


async def test_a_conversation_is_changed_field_by_field(client: httpx.AsyncClient, llm: Answerer) -> None:
    talk = await begun(client, title="Old", system="s", model="m")
    path = f"/v1/conversations/{talk}"
    changed = (await client.patch(path, json={"title": "New"})).json()
    assert (changed["title"], changed["system"], changed["model"]) == ("New", "s", "m")
    changed = (await client.patch(path, json={"system": None, "model": None})).json()
    assert (changed["title"], changed["system"], changed["model"]) == ("New", None, None)
    await said(client, talk, "Another title?")
    assert (await client.get(path)).json()["title"] == "New"
    assert (await client.patch(path, json={"title": None})).json()["title"] is None


async def test_a_deleted_conversation_is_gone_and_its_job_canceled(client: httpx.AsyncClient) -> None:
    talk = await begun(client)
    job = await said(client, talk, "Hello?")
    path = f"/v1/conversations/{talk}"
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(f"/v1/jobs/{job['id']}")).json()["status"] == "canceled"
    assert problem(await client.get(path)) == problem(await client.delete(path)) == (404, "not-found")
    assert (await client.get("/v1/conversations")).json()["data"] == []


async def test_another_keys_conversation_is_404(gateway: Any) -> None:
    talk = await begun(gateway.client, title="mine")
    async with await gateway.key("jobs:read", "jobs:write") as other:
        path = f"/v1/conversations/{talk}"
        for answer in (
            await other.get(path),
            await other.get(f"{path}/messages"),
            await other.get(f"{path}/export"),
            await other.patch(path, json={"title": "stolen"}),
            await other.delete(path),
            await other.post(f"{path}/messages", json={"content": "x"}),
            await other.get(f"/v1/conversations/{new_id('conv')}"),
            await other.get("/v1/conversations/nonsense"),
            await other.post("/v1/conversations/nonsense/messages", json={"content": "x"}),
        ):
            assert problem(answer) == (404, "not-found")
        chat = {"type": "llm.chat", "input": {"conversation_id": talk, "message": "x"}}
        answer = await other.post("/v1/jobs", json=chat)
        assert problem(answer) == (422, "unknown-conversation")
        assert answer.json()["errors"][0]["field"] == "input.conversation_id"
        assert (await other.get("/v1/conversations")).json()["data"] == []
    assert (await gateway.client.get(f"/v1/conversations/{talk}")).json()["title"] == "mine"


async def test_scopes_are_those_of_jobs(gateway: Any) -> None:
    talk = await begun(gateway.client)
    async with await gateway.key("jobs:read") as reader, await gateway.key("jobs:write") as writer:
        for answer in (
            await reader.post("/v1/conversations", json={}),
            await reader.post(f"/v1/conversations/{talk}/messages", json={"content": "x"}),
            await reader.patch(f"/v1/conversations/{talk}", json={}),
            await reader.delete(f"/v1/conversations/{talk}"),
            await writer.get("/v1/conversations"),
        ):
            assert problem(answer) == (403, "forbidden")
    async with gateway.with_key(None) as nobody:
        assert problem(await nobody.get("/v1/conversations")) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "content"), ({"content": ""}, "content"), ({"content": "  \n"}, "content"), ({"content": 5}, "content"),
        ({"content": []}, "content"), ({"content": [{"type": "sound"}]}, "content.0"),
        ({"content": [{"type": "text", "text": ""}]}, "content.0.text"), ({"content": "a\u0000b"}, "content"),
        ({"content": "x", "role": "system"}, "role"), ({"content": "x", "messages": []}, "messages"),
        ({"content": "x", "tools": []}, "tools"), ({"content": "x", "temperature": 3}, "temperature"),
        ({"content": "x", "provider": "who"}, "provider"), ({"content": "x" * 1_000_001}, "content"),
    ],
)  # fmt: skip
async def test_a_message_that_is_not_valid_is_422_and_names_the_field(
    client: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    talk = await begun(client)
    answer = await client.post(f"/v1/conversations/{talk}/messages", json=body)
    assert problem(answer) == (422, "validation")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert await messages(client, talk) == []


@pytest.mark.parametrize(
    "body",
    [
        {"title": ""},
        {"title": " "},
        {"title": "a\nb"},
        {"title": 1},
        {"system": " "},
        {"model": ""},
        {"name": "x"},
        [],
    ],
)
async def test_a_conversation_that_is_not_valid_is_422(client: httpx.AsyncClient, body: Any) -> None:
    assert problem(await client.post("/v1/conversations", json=body)) == (422, "validation")


async def test_an_export_is_a_file(client: httpx.AsyncClient, llm: Answerer) -> None:
    talk = await begun(client, title='기차: a/b "c"')
    await said(client, talk, "**Hello**?")
    await llm.answer("# Hi\n\n```py\nx\n```")
    await said(client, talk, "And?")
    path = f"/v1/conversations/{talk}/export"
    text = await client.get(path)
    assert text.headers["content-type"] == "text/markdown; charset=utf-8"
    assert "filename*=UTF-8''%EA%B8%B0%EC%B0%A8" in text.headers["content-disposition"]
    assert text.text == (
        '# 기차: a/b "c"\n\n## User\n\n**Hello**?\n\n## Assistant\n\n# Hi\n\n```py\nx\n```\n\n'
        "## User (being answered)\n\nAnd?\n"
    )
    whole = await client.get(path, params={"format": "json"})
    assert whole.json() == (await client.get(f"/v1/conversations/{talk}")).json()
    assert problem(await client.get(path, params={"format": "pdf"})) == (422, "validation")


class TestBounds:
    @pytest.fixture
    def settings(self) -> GatewaySettings:
        return GatewaySettings(
            admin_key=SecretStr("cb_testtest_" + "k" * 43), max_conversations=2, max_conversation_messages=4,
            max_conversation_bytes=400,
        )  # fmt: skip

    async def test_a_key_keeps_so_many_conversations(self, client: httpx.AsyncClient) -> None:
        first, _ = await begun(client), await begun(client)
        assert problem(await client.post("/v1/conversations", json={})) == (409, "too-many-conversations")
        await client.delete(f"/v1/conversations/{first}")
        await begun(client)

    async def test_a_conversation_holds_so_many_messages_and_bytes(
        self, client: httpx.AsyncClient, llm: Answerer
    ) -> None:
        talk = await begun(client)
        path = f"/v1/conversations/{talk}/messages"
        answer = await client.post(path, json={"content": "x" * 500})
        assert problem(answer) == (409, "conversation-full")
        for number in range(2):
            await said(client, talk, str(number))
            await llm.answer("yes")
        assert problem(await client.post(path, json={"content": "2"})) == (409, "conversation-full")


async def test_what_is_answered_is_as_the_document_says(client: httpx.AsyncClient, llm: Answerer) -> None:
    def known(shape: type[BaseModel], value: dict[str, Any]) -> bool:
        shape.model_validate(value)
        return value.keys() <= shape.model_fields.keys()

    talk = await begun(client, system="s")
    await said(client, talk, "Hello?")
    await llm.answer("Hello!")
    whole = (await client.get(f"/v1/conversations/{talk}?include_system=true")).json()
    assert known(ConversationObject, whole) and len(whole["messages"]) == 3
    assert all(known(ConversationMessage, one) for one in whole["messages"])
    assert known(ConversationList, (await client.get("/v1/conversations")).json())
    assert known(MessageList, (await client.get(f"/v1/conversations/{talk}/messages")).json())


async def test_the_openapi_document_tells_of_it(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    paths = {
        path: set(item) for path, item in document["paths"].items() if path.startswith("/v1/conversations")
    }
    one = "/v1/conversations/{conversation_id}"
    assert paths == {
        "/v1/conversations": {"get", "post"}, one: {"get", "patch", "delete"}, f"{one}/messages": {"get", "post"},
        f"{one}/export": {"get"},
    }  # fmt: skip
    say = document["paths"][f"{one}/messages"]["post"]
    assert {"200", "202", "404", "409", "422"} <= set(say["responses"])
    body = document["components"]["schemas"]["NewMessage"]
    assert body["required"] == ["content"] and {"provider", "model", "temperature"} <= set(body["properties"])
