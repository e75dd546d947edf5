"""Batches in the client and at the command line: what is uploaded and sent, and what its answers read as."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from callboard_client import AsyncCallboard, Callboard, NewJob, WaitTimeout
from callboard_client.cli import main

LINES = [{"line": 1, "custom_id": "a", "job_id": "job_1", "status": "succeeded", "output": {"value": 1}},
         {"line": 2, "custom_id": None, "job_id": None, "status": "invalid", "error": {"code": "malformed", "detail": "x"}}]  # fmt: skip
CONTENT = b"".join(json.dumps(line).encode() + b"\n" for line in LINES)


def a_batch(status: str = "running", **more: Any) -> dict[str, Any]:
    counts = {
        "total": 2,
        "pending": 0,
        "succeeded": 1,
        "failed": 0,
        "canceled": 0,
        "expired": 0,
        "invalid": 1,
    }
    return {"id": "batch_1", "status": status, "counts": counts, "file_id": "file_1", "later": 1, **more}


def an_ended_batch(status: str = "completed") -> dict[str, Any]:
    return a_batch(status, output_file={"file_id": "file_2", "media_type": "application/jsonl", "bytes": 9})


@pytest.fixture(autouse=True)
def answers(gateway: Any, make: Any) -> None:
    gateway.on("POST", "/v1/files", make.answer(201, {"id": "file_1", "name": "batch.jsonl"}))
    gateway.on("GET", "/v1/files/file_2/content", make.answer(200, CONTENT))


def test_jobs_are_uploaded_as_lines_and_the_file_is_named(
    callboard: Callboard, gateway: Any, make: Any
) -> None:
    gateway.on("POST", "/v1/batches", make.answer(202, a_batch("validating")))
    jobs = [
        NewJob(type="system.echo", input={"value": "ä"}),
        {"type": "system.echo", "input": {}, "custom_id": "b"},
    ]
    made = callboard.batches.create(iter(jobs), metadata={"order": "17"}, webhook="https://example.com")
    assert (made.id, made.has_ended, made.counts.total) == ("batch_1", False, 2)
    upload, submission = gateway.seen
    lines = [
        '{"type": "system.echo", "input": {"value": "ä"}}',
        '{"type": "system.echo", "input": {}, "custom_id": "b"}',
    ]
    assert ("\n".join(lines) + "\n").encode() in upload.body and b"batch" in upload.body
    assert submission.json == {
        "file_id": "file_1", "metadata": {"order": "17"}, "webhook": {"url": "https://example.com"},
    }  # fmt: skip
    assert submission.headers["idempotency-key"]


def test_a_path_is_uploaded_as_it_is(callboard: Callboard, gateway: Any, make: Any, tmp_path: Path) -> None:
    gateway.on("POST", "/v1/batches", make.answer(202, a_batch()))
    (tmp_path / "jobs.jsonl").write_bytes(b'{"type":"x"}\n')
    callboard.batches.create(tmp_path / "jobs.jsonl")
    assert b'filename="jobs.jsonl"' in gateway.seen[0].body and b'{"type":"x"}\n' in gateway.seen[0].body


def test_results_come_line_by_line_once_it_has_ended(callboard: Callboard, gateway: Any, make: Any) -> None:
    gateway.on("GET", "/v1/batches/batch_1", make.answer(200, a_batch()), make.answer(200, an_ended_batch()))
    first, second = callboard.batches.results("batch_1")
    assert (first.custom_id, first.output, first.error) == ("a", {"value": 1}, None)
    assert second.status == "invalid" and second.error is not None and second.error.code == "malformed"


def test_patience_that_runs_out_names_the_batch(callboard: Callboard, gateway: Any, make: Any) -> None:
    gateway.on("GET", "/v1/batches/batch_1", make.answer(200, a_batch(waiting_for="Budget.")))
    with pytest.raises(WaitTimeout, match=r"batch batch_1 is still running after 0 s \(Budget\.\)"):
        callboard.batches.wait("batch_1", 0)


async def test_the_async_client_does_the_same(
    async_callboard: AsyncCallboard, gateway: Any, make: Any
) -> None:
    path = "/v1/batches/batch_1"
    gateway.on("POST", "/v1/batches", make.answer(202, a_batch()))
    gateway.on("GET", path, make.answer(200, an_ended_batch()))
    gateway.on("POST", f"{path}/cancel", make.answer(202, a_batch("canceling")))
    gateway.on("POST", f"{path}/retry", make.answer(202, a_batch("validating", retried_from="batch_1")))
    gateway.on("DELETE", path, make.answer(204))
    gateway.on("GET", "/v1/batches", make.answer(200, {"data": [a_batch()], "next_cursor": None}))
    batches = async_callboard.batches
    made = await batches.create([{"type": "system.echo", "input": {"value": 1}}])
    assert [one.line async for one in batches.results(made)] == [1, 2]
    assert (await batches.get(made)).has_ended
    assert [one.id async for one in batches.list()] == ["batch_1"]
    assert (await batches.cancel(made)).status == "canceling"
    assert (await batches.retry(made, idempotency_key="k")).retried_from == "batch_1"
    assert gateway.seen[-1].headers["idempotency-key"] == "k"
    await batches.delete(made)
    assert gateway.seen[-1].method == "DELETE"


def test_the_command_line_prints_what_became_of_each_line(
    gateway: Any, make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_environment: None
) -> None:
    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["--url", gateway.url, "--key", make.key, "batch", *arguments])
        return int(ended.value.code or 0)

    gateway.on("POST", "/v1/batches", make.answer(202, a_batch()))
    gateway.on("GET", "/v1/batches/batch_1", make.answer(200, an_ended_batch()))
    (tmp_path / "jobs.jsonl").write_text("{}\n")
    assert run("run", str(tmp_path / "jobs.jsonl")) == 1  # a line was invalid
    said = capsys.readouterr()
    assert said.out.encode() == CONTENT
    assert "1 succeeded, 1 invalid of 2" in said.err
    saved = tmp_path / "out.jsonl"
    assert run("results", "batch_1", "--output", str(saved)) == 0
    assert saved.read_bytes() == CONTENT
    assert run("run", str(tmp_path / "nowhere.jsonl")) == 2
    assert "cannot be read" in capsys.readouterr().err
