"""One of everything that a key can own, made the way that a client or a worker makes it.

``OWNED`` says, by the path of an operation, what stands in that path. A route that is not here fails the fence's test,
which says what to add: how to make one, or why it is everybody's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
from house import House

from callboard_shared.ids import is_id
from callboard_shared.ledger import Ended, filing, modelling, verbs
from callboard_shared.ledger.deliveries import post, to_endpoint
from callboard_shared.ledger.outbox import OutboxRow
from callboard_shared.models import Part, TrainedModel

MARK = "a thing of the owner's"
"""Stands in whatever of a possession can hold text; no stranger may be told it."""
ECHO = {"type": "system.echo", "input": {"value": MARK}}
RUNNER = "system@test#1"
Make = Callable[[House, httpx.Client], str]


def _made(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code in (200, 201, 202), answer.text
    return dict(answer.json())


def job(house: House, owner: httpx.Client) -> str:
    """An ended one, so that its stream ends as well."""
    made = str(_made(owner.post("/v1/jobs", json=ECHO))["id"])
    limits = {"system.echo": (1000, 0)}
    claim = verbs.claim("system", RUNNER, limits=limits, max_jobs=1000, lease_ms=60_000)
    output = json.dumps({"value": MARK}).encode()
    ended = [Ended(one.id, one.attempt, "succeeded", output=output) for one in house.ledger.run(claim).jobs]
    house.ledger.run(verbs.finish("system", RUNNER, ended, 1))
    return made


def waiting_job(house: House, owner: httpx.Client) -> str:
    return str(_made(owner.post("/v1/jobs", json={**ECHO, "run_at": "2099-01-01T00:00:00Z"}))["id"])


def file(house: House, owner: httpx.Client, content: bytes = MARK.encode(), purpose: str = "") -> str:
    form = {"data": {"purpose": purpose}} if purpose else {}
    return str(_made(owner.post("/v1/files", files={"file": ("mine.txt", content)}, **form))["id"])  # type: ignore[arg-type]


def upload(house: House, owner: httpx.Client) -> str:
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "100"}
    answer = owner.post("/v1/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"].rpartition("/")[2]


def pipeline(house: House, owner: httpx.Client) -> str:
    """A canceled one, so that its stream ends as well."""
    steps = {"a": {**ECHO, "run_at": "2099-01-01T00:00:00Z"}}
    made = _made(
        owner.post("/v1/pipelines", json={"steps": {"a": {k: steps["a"][k] for k in ("type", "input")}}})
    )
    _made(owner.post(f"/v1/pipelines/{made['id']}/cancel"))
    return str(made["id"])


def batch(house: House, owner: httpx.Client) -> str:
    lines = file(house, owner, json.dumps(ECHO).encode())
    return str(_made(owner.post("/v1/batches", json={"file_id": lines, "metadata": {"note": MARK}}))["id"])


def openai_batch(house: House, owner: httpx.Client) -> str:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": MARK}]}
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    lines = file(house, owner, json.dumps(line).encode(), purpose="batch")
    asked = {"input_file_id": lines, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return str(_made(owner.post("/openai/v1/batches", json=asked))["id"])


def conversation(house: House, owner: httpx.Client) -> str:
    return str(_made(owner.post("/v1/conversations", json={"title": MARK, "system": MARK}))["id"])


def endpoint(house: House, owner: httpx.Client) -> str:
    body = {"url": "https://hooks.example.com/", "description": MARK}
    return str(_made(owner.post("/v1/webhook-endpoints", json=body))["id"])


def delivery(house: House, owner: httpx.Client) -> str:
    """As a courier makes it of what the outbox says."""
    endpoint_id, job_id, now_ms = endpoint(house, owner), job(house, owner), time.time_ns() // 1_000_000
    row = OutboxRow(
        "1-1", "system", "job.succeeded", job_id, owner_id(house, owner), "system.echo", now_ms, 1, 600_000
    )
    made = to_endpoint(row, endpoint_id, "https://hooks.example.com/")
    assert house.ledger.run(post([made], "whsec_AAAA")) == 1
    assert is_id(made.id, "whd")
    return made.id


def model(house: House, owner: httpx.Client) -> str:
    """As a training leaves it behind."""
    record = house.ledger.run(filing.get_file(file(house, owner)))
    assert record is not None
    held = replace(record, held_by="a model")
    parts = (Part("model.safetensors", held.id, held.bytes, held.sha256),)
    name = f"mine-{record.id[-12:]}"  # another one each time, that its number may be 1
    trained = TrainedModel(
        record.owner, name, "encoder", "embed", job(house, owner), record.created_ms, parts, {"accuracy": 0.5}
    )
    published, _ = house.ledger.run(modelling.publish_model(trained, [held]))
    return published.full_name


def owner_id(house: House, owner: httpx.Client) -> str:
    record = house.ledger.run(filing.get_file(file(house, owner)))
    assert record is not None
    return record.owner


OWNED: dict[str, Make] = {
    "/v1/jobs/{job_id}": job,
    "/v1/jobs/{job_id}/cancel": waiting_job,
    "/v1/jobs/{job_id}/events": job,
    "/v1/jobs/{job_id}/retry": job,
    "/v1/files/{file_id}": file,
    "/v1/files/{file_id}/content": file,
    "/v1/uploads/{upload_id}": upload,
    "/v1/pipelines/{pipeline_id}": pipeline,
    "/v1/pipelines/{pipeline_id}/cancel": pipeline,
    "/v1/pipelines/{pipeline_id}/events": pipeline,
    "/v1/batches/{batch_id}": batch,
    "/v1/batches/{batch_id}/cancel": batch,
    "/v1/batches/{batch_id}/retry": batch,
    "/v1/conversations/{conversation_id}": conversation,
    "/v1/conversations/{conversation_id}/export": conversation,
    "/v1/conversations/{conversation_id}/messages": conversation,
    "/v1/deliveries/{delivery_id}": delivery,
    "/v1/deliveries/{delivery_id}/redeliver": delivery,
    "/v1/models/{name}": model,
    **{
        f"/v1/webhook-endpoints/{{endpoint_id}}{more}": endpoint
        for more in ("", "/deliveries", "/recover", "/rotate", "/secret", "/test")
    },
    "/openai/v1/batches/{batch_id}": openai_batch,
    "/openai/v1/batches/{batch_id}/cancel": openai_batch,
    "/openai/v1/files/{file_id}": file,
    "/openai/v1/files/{file_id}/content": file,
    "/openai/v1/models/{name}": model,
    "/jobs/{job_id}": job,
    "/console/jobs/{job_id}": job,
    "/console/jobs/{job_id}/cancel": waiting_job,
    "/console/jobs/{job_id}/retry": job,
    **{
        f"/chat/{{conversation_id}}{more}": conversation
        for more in ("", "/turns", "/messages", "/again", "/stop", "/rename", "/settings", "/delete")
    },
}

SHARED = {
    "/v1/job-types/{name}": "what there is to run is the same for all keys",
    "/v1/queues/{name}/{action}": "queues are the operator's; only an admin steers them",
    "/v1/keys/{key_id}": "keys are an admin's, whoever uses them",
    "/v1/keys/{key_id}/rotate": "keys are an admin's, whoever uses them",
    "/v1/webhook-inbox/{name}": "a receiver for trying out; who reads sees what his own secrets signed, and what nobody's did",
    "/language/{language}": "a choice of words",
    "/static/{path}": "assets",
    "/chat/{conversation_id}/replies/{job_id}": "of two ids; test_of_two_ids_neither_may_be_anothers",
    "/chat/{conversation_id}/speech/{index}": "of two ids; test_of_two_ids_neither_may_be_anothers",
    "/chat/speech/{job_id}": "a tts.speech job; test_of_two_ids_neither_may_be_anothers",
}

BODIES: dict[str, dict[str, Any]] = {
    "change_conversation": {"json": {"title": "taken over"}},
    "create_message": {"json": {"content": "hello"}},
    "change_webhook_endpoint": {"json": {"description": "taken over"}},
    "recover_webhook_endpoint": {"json": {"since": "2026-01-01T00:00:00Z"}},
    "append_to_upload": {
        "content": b"x",
        "headers": {
            "Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream",
        },
    },
    "delete_upload": {"headers": {"Tus-Resumable": "1.0.0"}},
}  # fmt: skip
"""What an operation needs to be sent, so that it is the id that it is judged by."""
