"""One of everything that a ledger holds, laid out over HTTP, and the account of it that a gateway gives.

``lay`` is done on a running stack (courier and nlp-train; the rest may be missing), ``account`` by any gateway over the
same data later: what it says then must be what it said before.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from callboard_shared.ledger import Ledger, verbs
from callboard_shared.ledger.records import Ended

QUEUE_OF_ECHO = "system"
WORDS = [["train", "leaves", "platform"], ["train", "arrives", "platform"]] * 20
LONG_MS = 600_000
_PASSING = frozenset(
    {
        "queue_position",
        "eta_s",
        "waiting_for",
        "last_used_at",
        "loaded",
        "updated_at",
        "next_try_at",
        "next_attempt_at",
    }
)
"""What changes by itself, with the clock or the workers that are there."""


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return value


def made(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code in (200, 201, 202), answer.text
    document: dict[str, Any] = answer.json()
    return document


def echo(http: httpx.Client, value: Any = 1, sleep_ms: int = 0, **options: Any) -> str:
    body = {"type": "system.echo", "input": {"value": value, "sleep_ms": sleep_ms}, **options}
    return str(made(http.post("/v1/jobs", json=body))["id"])


def ended(http: httpx.Client, path: str, seconds: float = 60) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = http.get(path).raise_for_status().json()
        return found if found.get("finished_at") or found.get("ended_at") else None

    found: dict[str, Any] = until(look, seconds)
    return found


def lay(http: httpx.Client, ledger: Ledger) -> None:
    """Everything, in each state in which it may stay for a while. The queue of the echoes is paused at the end."""
    _before_the_pause(http)
    _talk(http, ledger)
    until(lambda: not any(one["status"] == "pending" for one in http.get("/v1/deliveries").json()["data"]))
    _while_something_runs(http)


def _before_the_pause(http: httpx.Client) -> None:
    made(
        http.post(
            "/v1/keys", json={"name": "shop", "scopes": ["jobs:read", "jobs:write"], "limits": {"running": 3}}
        )
    )
    inbox = f"{http.base_url}/v1/webhook-inbox/kept"
    made(http.post("/v1/webhook-endpoints", json={"url": inbox, "description": "all of it"}))
    file = made(http.post("/v1/files", files={"file": ("words.csv", b"text,label\nfine,1\n")}))
    until(lambda: http.get(f"/v1/files/{file['id']}").status_code == 200)
    hooked = {"webhook": {"url": f"{inbox}-one", "events": ["job.succeeded"]}}
    ended(http, f"/v1/jobs/{echo(http, {'기차': [1, None, 2.5]}, metadata={'order': '17'}, **hooked)}")
    once = {"Idempotency-Key": "the-only-one"}
    made(http.post("/v1/jobs", json={"type": "system.echo", "input": {"value": "once"}}, headers=once))
    canceled = echo(http, "never", run_at="2099-01-01T00:00:00Z", expires_in_s=None)
    made(http.post(f"/v1/jobs/{canceled}/cancel"))
    train = {
        "type": "nlp.word2vec.train",
        "input": {"sentences": WORDS, "vector_size": 8, "sample": 0, "seed": 1, "name": "words"},
    }
    assert (
        ended(http, f"/v1/jobs/{made(http.post('/v1/jobs', json=train))['id']}", 120)["status"] == "succeeded"
    )
    none = {"type": "nlp.word2vec.train", "input": {"texts": ["a"], "min_count": 5}}
    assert ended(http, f"/v1/jobs/{made(http.post('/v1/jobs', json=none))['id']}")["status"] == "failed"
    steps = {"one": _step(5), "two": _step("${one.output.value}")}
    ended(http, f"/v1/pipelines/{made(http.post('/v1/pipelines', json={'steps': steps}))['id']}")
    ended(http, f"/v1/batches/{_batch(http, 3)}")


def _while_something_runs(http: httpx.Client) -> None:
    for number in range(2):
        echo(http, f"runs {number}", LONG_MS, max_attempts=1)
    until(lambda: _running(http) == 2)
    made(http.post(f"/v1/queues/{QUEUE_OF_ECHO}/pause"))
    first = echo(http, "waits", priority=5)
    echo(http, "waits for another", after=[first])
    echo(http, "later", run_at="2099-01-01T00:00:00Z")
    made(
        http.post(
            "/v1/pipelines", json={"steps": {"one": _step("waits"), "two": _step("${one.output.value}")}}
        )
    )
    _batch(http, 2)
    size, piece = 10, b"12345"
    resumable = {"Tus-Resumable": "1.0.0", "Upload-Length": str(size)}
    begun = http.post("/v1/uploads", headers=resumable)
    assert begun.status_code == 201, begun.text
    patch = {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
    }
    assert http.patch(begun.headers["location"], headers=patch, content=piece).status_code == 204


def _step(value: Any) -> dict[str, Any]:
    return {"type": "system.echo", "input": {"value": value}}


def _batch(http: httpx.Client, lines: int) -> str:
    text = "".join(json.dumps({"custom_id": f"line {n}", **_step(n)}) + "\n" for n in range(lines))
    file = made(http.post("/v1/files", files={"file": ("jobs.jsonl", text.encode())}))
    batch = str(made(http.post("/v1/batches", json={"file_id": file["id"]}))["id"])
    until(lambda: made(http.get(f"/v1/batches/{batch}"))["counts"].get("total") == lines)
    return batch


def _running(http: httpx.Client) -> int:
    (queue,) = [one for one in http.get("/v1/queues").json()["data"] if one["name"] == QUEUE_OF_ECHO]
    return int(queue["running"])


def _talk(http: httpx.Client, ledger: Ledger) -> None:
    """A conversation with an answer, and a message that waits for one; what the worker does is done by hand."""
    talk = made(http.post("/v1/conversations", json={"title": "기차", "system": "Be brief."}))["id"]
    path = f"/v1/conversations/{talk}/messages"
    job = made(http.post(path, json={"content": "When?"}))["id"]
    limits = {"llm.chat": (1, 0)}
    (claimed,) = ledger.run(verbs.claim("llm", "by hand", limits=limits, max_jobs=1, lease_ms=15_000)).jobs
    assert claimed.id == job
    end = Ended(
        job, claimed.attempt, "succeeded", output=b'{"text":"At nine."}', reply=b'{"content":"At nine."}'
    )
    assert ledger.run(verbs.finish("llm", "by hand", [end])).results == ["committed"]
    made(http.post(path, json={"content": "And then?"}))


def account(http: httpx.Client) -> dict[str, Any]:
    """What a gateway tells of all of it, by the path where it is told."""
    said: dict[str, Any] = {}
    for path in (
        "/v1/keys",
        "/v1/webhook-endpoints",
        "/v1/deliveries",
        "/v1/files",
        "/v1/usage",
        "/v1/audit",
    ):
        said[path] = listed(http, path)
    said["/v1/models"] = [one for one in listed(http, "/v1/models") if one["source"] == "trained"]
    said["/v1/webhook-secret"] = made(http.get("/v1/webhook-secret"))
    for path in ("/v1/jobs", "/v1/pipelines", "/v1/batches", "/v1/conversations", "/v1/deliveries"):
        for one in listed(http, path):
            said[f"{path}/{one['id']}"] = made(http.get(f"{path}/{one['id']}"))
            if path == "/v1/conversations":
                said[f"{path}/{one['id']}/messages"] = listed(http, f"{path}/{one['id']}/messages")
            if path == "/v1/jobs" and one["finished_at"]:
                said[f"{path}/{one['id']}/events"] = http.get(f"{path}/{one['id']}/events").text
    for file in said["/v1/files"]:
        content = http.get(file["url"]).raise_for_status().content
        said[file["url"]] = hashlib.sha256(content).hexdigest()
        assert said[file["url"]] == file["sha256"]
    found: dict[str, Any] = _lasting(said)
    return found


def listed(http: httpx.Client, path: str) -> list[dict[str, Any]]:
    def pages() -> Iterator[dict[str, Any]]:
        cursor = None
        while True:
            page = http.get(path, params={"cursor": cursor} if cursor else {}).raise_for_status().json()
            yield from page["data"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    return list(pages())


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lasting(inner) for name, inner in value.items() if name not in _PASSING}
    return [_lasting(one) for one in value] if isinstance(value, list) else value


def differences(before: Any, after: Any, at: str = "") -> list[str]:
    """Where what was said before is not said any more; that there is more now is no difference."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            line
            for name, value in before.items()
            for line in (
                differences(value, after[name], f"{at} {name}") if name in after else [f"{at} {name} is gone"]
            )
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            line
            for number, (one, other) in enumerate(zip(before, after, strict=True))
            for line in differences(one, other, f"{at} {number}")
        ]
    return [] if before == after else [f"{at}: {before!r} is now {after!r}"]
