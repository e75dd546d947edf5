"""Pipelines in the client and at the command line: what is sent, what its answers read as, how failures are told."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callboard_client import AsyncCallboard, Callboard, NewJob, PipelineFailed, WaitTimeout
from callboard_client.cli import main

STEPS = {"a": {"type": "system.echo", "input": {"value": 1}}}


def a_pipeline(status: str = "running", **more: Any) -> dict[str, Any]:
    steps = {"a": {"job_id": "job_1", "type": "system.echo", "status": status, "after": [], "later": 1}}
    progress = {"fraction": 0.0, "step": 0, "steps": 1}
    return {"id": "pipe_1", "status": status, "steps": steps, "progress": progress, **more}


def test_steps_may_be_jobs_or_plain_json(callboard: Callboard, gateway: Any, make: Any) -> None:
    gateway.on("POST", "/v1/pipelines", make.answer(202, a_pipeline()))
    steps = {
        "a": NewJob(type="system.echo", input={"value": 1}, priority=2),
        "b": {**STEPS["a"], "after": ["a"]},
    }
    made = callboard.pipelines.create(steps, webhook="https://example.com", metadata={"order": "17"})
    assert (made.id, made.steps["a"].job_id, made.has_ended) == ("pipe_1", "job_1", False)
    assert gateway.seen[0].json == {
        "steps": {"a": {**STEPS["a"], "priority": 2}, "b": {**STEPS["a"], "after": ["a"]}},
        "webhook": {"url": "https://example.com"},
        "metadata": {"order": "17"},
    }
    assert gateway.seen[0].headers["idempotency-key"] and "prefer" not in gateway.seen[0].headers


def test_running_waits_under_one_key(callboard: Callboard, gateway: Any, make: Any) -> None:
    done = a_pipeline("succeeded", output={"a": {"value": 1}})
    gateway.on("POST", "/v1/pipelines", None, make.answer(202, a_pipeline()))
    gateway.on("GET", "/v1/pipelines/pipe_1", make.answer(200, a_pipeline()), make.answer(200, done))
    assert callboard.pipelines.run(STEPS).output == {"a": {"value": 1}}
    first, again, *_ = gateway.seen
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"]
    assert first.headers["prefer"] == "wait=30"
    assert gateway.seen[-1].query == {"wait": "30"}


def test_a_failed_step_is_raised_with_its_reason(callboard: Callboard, gateway: Any, make: Any) -> None:
    error = make.problem(500, "step-failed", "Step 'a' ended as failed")
    gateway.on("POST", "/v1/pipelines", make.answer(200, a_pipeline("failed", error=error)))
    with pytest.raises(PipelineFailed, match="pipe_1 ended failed: Step 'a'") as failed:
        callboard.pipelines.run(STEPS)
    assert failed.value.pipeline.steps["a"].status == "failed"


def test_patience_that_runs_out_names_the_pipeline(callboard: Callboard, gateway: Any, make: Any) -> None:
    gateway.on("GET", "/v1/pipelines/pipe_1", make.answer(200, a_pipeline()))
    with pytest.raises(WaitTimeout, match="pipeline pipe_1 is still running after 0 s"):
        callboard.pipelines.wait("pipe_1", 0)


async def test_the_async_client_does_the_same(
    async_callboard: AsyncCallboard, gateway: Any, make: Any
) -> None:
    path = "/v1/pipelines/pipe_1"
    gateway.on("POST", "/v1/pipelines", make.answer(202, a_pipeline()))
    gateway.on("GET", path, make.answer(200, a_pipeline("succeeded")))
    gateway.on("POST", f"{path}/cancel", make.answer(202, a_pipeline("canceling")))
    gateway.on("DELETE", path, make.answer(204))
    pages = [
        {"data": [a_pipeline()], "next_cursor": "c"},
        {"data": [a_pipeline("failed")], "next_cursor": None},
    ]
    gateway.on("GET", "/v1/pipelines", *(make.answer(200, page) for page in pages))
    pipelines = async_callboard.pipelines
    made = await pipelines.create(STEPS)
    assert (await pipelines.wait(made)).has_succeeded and (await pipelines.get(made)).has_ended
    assert (await pipelines.cancel(made)).status == "canceling"
    assert (await pipelines.run(STEPS)).has_succeeded
    assert [one.status async for one in pipelines.list()] == ["running", "failed"]
    await pipelines.delete(made)
    assert (gateway.seen[-1].method, gateway.seen[-1].path) == ("DELETE", path)


# --- at the command line ------------------------------------------------------------------------------------

Command = Callable[..., int]


@pytest.fixture
def command(gateway: Any, make: Any, no_environment: None) -> Command:
    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["--url", gateway.url, "--key", make.key, *arguments])
        code = ended.value.code
        return code if isinstance(code, int) else 0

    return run


def test_a_file_is_run_and_its_output_printed(
    command: Command, gateway: Any, make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "steps.json"
    file.write_text(json.dumps({"steps": STEPS, "metadata": {"a": "b"}}))
    gateway.on("POST", "/v1/pipelines", make.answer(202, a_pipeline()))
    gateway.on(
        "GET", "/v1/pipelines/pipe_1", make.answer(200, a_pipeline("succeeded", output={"a": {"value": 7}}))
    )
    assert command("pipeline", "run", str(file), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"a": {"value": 7}}
    assert gateway.seen[0].json == {"steps": STEPS, "metadata": {"a": "b"}}


def test_standard_input_may_bring_it(
    command: Command,
    gateway: Any,
    make: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"steps": STEPS})))
    gateway.on("POST", "/v1/pipelines", make.answer(202, a_pipeline()))
    assert command("pipelines", "run", "-", "--no-follow") == 0
    assert capsys.readouterr().out == "pipe_1\n"


def test_a_failed_pipeline_ends_with_code_1_and_why(
    command: Command, gateway: Any, make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.json").write_text(json.dumps({"steps": STEPS}))
    failed = a_pipeline("failed", error=make.problem(500, "step-failed", "Step 'a' ended as failed"))
    gateway.on("POST", "/v1/pipelines", make.answer(202, failed))
    assert command("pipeline", "run", str(tmp_path / "p.json")) == 1
    assert "Step 'a' ended as failed" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"steps": []}', '{"steps": {}, "more": 1}'])
def test_what_is_no_pipeline_is_misuse(command: Command, gateway: Any, tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    assert command("pipeline", "run", str(tmp_path / "p.json")) == 2
    assert command("pipeline", "run", str(tmp_path / "nothing.json")) == 2
    assert gateway.seen == []


def test_pipelines_are_listed_shown_and_canceled(
    command: Command, gateway: Any, make: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/v1/pipelines/pipe_1"
    gateway.on("GET", "/v1/pipelines", make.answer(200, {"data": [a_pipeline()], "next_cursor": None}))
    gateway.on("GET", path, make.answer(200, a_pipeline("succeeded", output={"a": {"value": 7}})))
    gateway.on("POST", f"{path}/cancel", make.answer(202, a_pipeline("canceling")))
    assert [command("pipelines", "list"), command("pipelines", "get", "pipe_1")] == [0, 0]
    said = capsys.readouterr().out
    assert "pipe_1" in said and "system.echo" in said and "job_1" in said
    assert command("pipelines", "cancel", "pipe_1") == 0
    assert capsys.readouterr().out == "pipe_1 canceling\n"
