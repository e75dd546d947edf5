"""Secrets planted in everything that a client gives, with providers and receivers that repeat or fail: then searched for."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai_server
import pytest
from openai_server import Fault, OpenAIDouble
from over_http import ended, submit
from webhook_receiver import Receiver, receiver, status

from callboard_embedded.stack import Stack

PLANTED = {
    name: f"planted{secrets.token_hex(12)}"
    for name in (
        "prompt", "value", "picture url", "webhook url", "idempotency key", "file name", "file content", "key's name", "metadata",
        "refused value", "refused url", "conversation",
    )
}  # fmt: skip
SHOWN = {
    "webhook bodies": {
        "value",
        "metadata",
        "prompt",
        "picture url",
    },  # a job's own, to the receiver that its owner named
    "events": {"prompt", "picture url"},  # the last one is the job
    "deliveries": {"webhook url"},  # to the key that gave it
    "failed jobs": {"prompt", "metadata", "picture url"},  # a job shows its own input, to its own key
    "keys": {"key's name"},
    "audit": {"key's name"},
    "logs": {"key's name"},  # what admins did is a line of the log as well
}
"""Where something planted may be read, because whoever reads there gave it, or is an admin who named it."""


class Hooks:
    """A receiver of webhooks on a loop of its own; it says no and repeats what it was sent."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._context = receiver()
        self.receiver: Receiver = self._run(self._context.__aenter__())

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def until(self, count: int) -> None:
        self._run(self.receiver.until(lambda: len(self.receiver.received) >= count, 40))

    def close(self) -> None:
        self._run(self._context.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@pytest.fixture(scope="module")
def hooks() -> Iterator[Hooks]:
    running = Hooks()
    yield running
    running.close()


@pytest.fixture(scope="module")
def chats() -> Iterator[OpenAIDouble]:
    running = OpenAIDouble().start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def own_stack(chats: OpenAIDouble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """As talkative as can be."""
    folder = tmp_path_factory.mktemp("planted")
    env = {
        "CALLBOARD_WORKERS": "nlp=0,nlp-train=0,vision=0,vision-train=0", "CALLBOARD_LOG_LEVEL": "DEBUG", "CALLBOARD_ACCESS_LOG": "true",
        "OPENAI_API_KEY": openai_server.KEY, "OPENAI_BASE_URL": chats.url, "ELEVENLABS_API_KEY": "",
    }  # fmt: skip
    with Stack(folder / "home", env=env, output=folder / "output.txt") as stack:
        yield stack


@pytest.fixture(scope="module")
def admin(own_stack: Stack) -> Iterator[httpx.Client]:
    with client(own_stack, own_stack.key) as http:
        yield http


def client(stack: Stack, key: str) -> httpx.Client:
    return httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {key}"}, timeout=60)


def told_of(user: httpx.Client, hooks: Hooks) -> str:
    """A job that succeeds, told of at a receiver that says no and repeats its address; all jobs at another one."""
    user.post("/v1/webhook-endpoints", json={"url": hooks.receiver.url("/all")})
    hooks.receiver.answers["/no"] = status(500, f"what is {PLANTED['webhook url']}?".encode())
    hook = {"url": hooks.receiver.url(f"/no?token={PLANTED['webhook url']}")}
    return submit(
        user, "system.echo", {"value": PLANTED["value"]}, webhook=hook, metadata={"note": PLANTED["metadata"]}
    )


def failing(user: httpx.Client, chats: OpenAIDouble) -> list[str]:
    """Chats whose provider repeats the prompt in its errors, and one whose picture cannot be fetched."""
    chats.plan += [
        Fault(400, "invalid_value", f"I do not like {PLANTED['prompt']}."),
        Fault(401, "invalid_api_key", PLANTED["prompt"]),
    ]
    picture = {"url": f"http://127.0.0.1:9/?token={PLANTED['picture url']}"}
    contents = [PLANTED["prompt"], PLANTED["prompt"], [{"type": "image_url", "image_url": picture}]]
    return [
        submit(
            user,
            "llm.chat",
            {"messages": [{"role": "user", "content": one}], "model": "gpt-4o"},
            max_attempts=1,
        )
        for one in contents
    ]


def kept(user: httpx.Client) -> None:
    """A file, a conversation, and a key of idempotency that is used twice."""
    user.post("/v1/files", files={"file": (f"{PLANTED['file name']}.txt", PLANTED["file content"].encode())})
    user.post("/v1/conversations", json={"title": PLANTED["conversation"], "system": PLANTED["conversation"]})
    for value in (PLANTED["value"], "another"):
        body = {"type": "system.echo", "input": {"value": value}}
        user.post("/v1/jobs", json=body, headers={"Idempotency-Key": PLANTED["idempotency key"]})


def refused(user: httpx.Client, url: str, key: str) -> list[httpx.Response]:
    """Requests that are wrong, each with something that its answer must not repeat."""
    echo: dict[str, Any] = {"type": "system.echo", "input": {"value": 1}}
    with_password = {"url": f"https://u:{PLANTED['refused url']}@h.example/"}
    return [
        user.post("/v1/jobs", json={**echo, "timeout_s": PLANTED["refused value"]}),
        user.post("/v1/jobs", json={**echo, "webhook": with_password}),
        user.post(
            "/v1/webhook-endpoints", json={"url": f"http://example.com/?token={PLANTED['refused url']}"}
        ),
        httpx.get(f"{url}/v1/jobs", headers={"Authorization": f"Bearer {key}x"}),
        httpx.get(f"{url}/v1/jobs?token={PLANTED['refused value']}"),
    ]


def read_by(admin: httpx.Client, user: httpx.Client, jobs: list[str]) -> dict[str, str]:
    """What the interface gives to read, by where."""
    lists = ("jobs", "files", "conversations", "deliveries")
    return {
        "events": "".join(user.get(f"/v1/jobs/{job}/events").text for job in jobs),
        "deliveries": user.get("/v1/deliveries?limit=100").text,
        "metrics": admin.get("/metrics").text,
        "audit": admin.get("/v1/audit").text,
        "keys": admin.get("/v1/keys").text,
        "workers": admin.get("/v1/workers").text,
        "other keys' lists": "".join(admin.get(f"/v1/{name}").text for name in lists),
    }


def test_nothing_planted_is_where_others_read(
    own_stack: Stack, admin: httpx.Client, chats: OpenAIDouble, hooks: Hooks
) -> None:
    key = admin.post("/v1/keys", json={"name": PLANTED["key's name"]}).json()["key"]
    with client(own_stack, key) as user:
        good, bad = told_of(user, hooks), failing(user, chats)
        kept(user)
        wrong = refused(user, own_stack.url, key)
        assert {answer.status_code for answer in wrong} == {401, 422}
        failed = [ended(user, job) for job in bad]
        assert {job["status"] for job in failed} == {"failed"} and ended(user, good)["status"] == "succeeded"
        hooks.until(5)  # of one job at its own URL, of all that ended at the endpoint
        (endpoint,) = user.get("/v1/webhook-endpoints").json()["data"]
        secret = user.get(f"/v1/webhook-endpoints/{endpoint['id']}/secret").json()["secret"]
        read = read_by(admin, user, bad) | {
            "problems": "".join(answer.text for answer in wrong),
            "errors": json.dumps([job["error"] for job in failed]),
            "failed jobs": json.dumps(failed),
            "webhook bodies": "".join(one.body.decode() for one in hooks.receiver.received),
            "logs": "".join(path.read_text("utf-8", "replace") for path in _logs(own_stack.home)),
        }
    assert "job.failed" in read["logs"] and "delivery" in read["logs"], "or the test shows nothing"
    found = {(name, where) for name, text in PLANTED.items() for where, told in read.items() if text in told}
    allowed = {(name, where) for where, names in SHOWN.items() for name in names}
    assert found - allowed == set()
    keys = {"api key": key, "webhook secret": secret, "provider's key": openai_server.KEY}
    assert {
        (name, where) for name, text in keys.items() for where, told in read.items() if text[6:30] in told
    } == set()


def _logs(home: Path) -> list[Path]:
    return [*(home / "logs").glob("*.log"), home.parent / "output.txt"]
