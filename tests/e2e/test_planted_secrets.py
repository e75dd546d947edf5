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


def test_nothing_planted_is_where_others_read(own_stack: Stack, chats: OpenAIDouble, hooks: Hooks) -> None:
    admin = httpx.Client(
        base_url=own_stack.url, headers={"Authorization": f"Bearer {own_stack.key}"}, timeout=60
    )
    made = admin.post("/v1/keys", json={"name": PLANTED["key's name"]}).json()
    user = httpx.Client(
        base_url=own_stack.url, headers={"Authorization": f"Bearer {made['key']}"}, timeout=60
    )
    endpoint = user.post("/v1/webhook-endpoints", json={"url": hooks.receiver.url("/all")}).json()
    secret = user.get(f"/v1/webhook-endpoints/{endpoint['id']}/secret").json()["secret"]
    hook = hooks.receiver.url(f"/no?token={PLANTED['webhook url']}")
    hooks.receiver.answers["/no"] = status(500, f"what is {PLANTED['webhook url']}?".encode())

    echo: dict[str, Any] = {"value": PLANTED["value"]}
    jobs = [submit(user, "system.echo", echo, webhook={"url": hook}, metadata={"note": PLANTED["metadata"]})]
    replay = {"Idempotency-Key": PLANTED["idempotency key"]}
    for value in (echo, {"value": "another"}):
        user.post("/v1/jobs", json={"type": "system.echo", "input": value}, headers=replay)
    asked = [{"role": "user", "content": PLANTED["prompt"]}]
    seen = [
        {"type": "image_url", "image_url": {"url": f"http://127.0.0.1:9/?token={PLANTED['picture url']}"}}
    ]
    chats.plan += [
        Fault(400, "invalid_value", f"I do not like {PLANTED['prompt']}."),
        Fault(401, "invalid_api_key", PLANTED["prompt"]),
    ]
    failing = [submit(user, "llm.chat", {"messages": asked}, max_attempts=1), submit(user, "llm.chat", {"messages": asked}, max_attempts=1),
               submit(user, "llm.chat", {"messages": [{"role": "user", "content": seen}], "model": "gpt-4o"}, max_attempts=1)]  # fmt: skip
    failed = [ended(user, job) for job in failing]
    assert {job["status"] for job in failed} == {"failed"}
    user.post("/v1/files", files={"file": (f"{PLANTED['file name']}.txt", PLANTED["file content"].encode())})
    user.post("/v1/conversations", json={"title": PLANTED["conversation"], "system": PLANTED["conversation"]})
    refused = [
        user.post(
            "/v1/jobs",
            json={"type": "system.echo", "input": {"value": 1}, "timeout_s": PLANTED["refused value"]},
        ),
        user.post(
            "/v1/jobs",
            json={
                "type": "system.echo",
                "input": {"value": 1},
                "webhook": {"url": f"https://u:{PLANTED['refused url']}@h.example/"},
            },
        ),
        user.post(
            "/v1/webhook-endpoints", json={"url": f"http://example.com/?token={PLANTED['refused url']}"}
        ),
        httpx.get(f"{own_stack.url}/v1/jobs", headers={"Authorization": f"Bearer {made['key']}x"}),
        httpx.get(f"{own_stack.url}/v1/jobs?token={PLANTED['refused value']}"),
    ]
    assert {answer.status_code for answer in refused} == {401, 422}
    assert ended(user, jobs[0])["status"] == "succeeded"
    hooks.until(5)  # of one job at its own URL, of all that ended at the endpoint

    read = {
        "problems": "".join(answer.text for answer in refused),
        "errors": json.dumps([job["error"] for job in failed]),
        "failed jobs": json.dumps(failed),
        "events": "".join(user.get(f"/v1/jobs/{job}/events").text for job in failing),
        "deliveries": user.get("/v1/deliveries?limit=100").text,
        "webhook bodies": "".join(one.body.decode() for one in hooks.receiver.received),
        "metrics": admin.get("/metrics").text,
        "audit": admin.get("/v1/audit").text,
        "keys": admin.get("/v1/keys").text,
        "workers": admin.get("/v1/workers").text,
        "other keys' lists": "".join(
            admin.get(f"/v1/{name}").text for name in ("jobs", "files", "conversations", "deliveries")
        ),
        "logs": "".join(path.read_text("utf-8", "replace") for path in _logs(own_stack.home)),
    }
    assert "job.failed" in read["logs"] and "delivery" in read["logs"], "or the test shows nothing"
    found = {(name, where) for name, text in PLANTED.items() for where, told in read.items() if text in told}
    allowed = {(name, where) for where, names in SHOWN.items() for name in names}
    assert found - allowed == set()
    whole = {"api key": made["key"], "webhook secret": secret, "provider's key": openai_server.KEY}
    assert {
        (name, where) for name, text in whole.items() for where, told in read.items() if text[6:30] in told
    } == set()
    admin.close()
    user.close()


def _logs(home: Path) -> list[Path]:
    return [*(home / "logs").glob("*.log"), home.parent / "output.txt"]
