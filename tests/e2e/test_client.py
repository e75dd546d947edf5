"""The client and the command, as a user would use them, against the whole stack."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callboard_client import (
    AsyncCallboard,
    Callboard,
    Conflict,
    Forbidden,
    Invalid,
    Job,
    JobFailed,
    NotFound,
    Problem,
    Unauthorized,
    WaitTimeout,
)

SLOW = {"value": "slow", "sleep_ms": 60_000}


@pytest.fixture
def callboard(stack: Any) -> Iterator[Callboard]:
    with Callboard(stack.url, stack.key) as made:
        yield made


@pytest.fixture
def command(stack: Any, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    environment = {**os.environ, "CALLBOARD_URL": stack.url, "CALLBOARD_API_KEY": stack.key}

    def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "callboard_client", *arguments],
            input=text, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60, check=False,
        )  # fmt: skip

    return run


def test_the_own_example_of_every_job_type_but_trainings_runs(callboard: Callboard) -> None:
    types = callboard.job_types()
    assert {"nlp.embed", "nlp.similarity", "system.echo"} <= {job_type.name for job_type in types}
    for job_type in types:
        if not job_type.queue.endswith(
            "-train"
        ):  # test_main_job.py runs these as well, and they take minutes
            assert callboard.run(job_type.name, job_type.example) is not None


def test_run_gives_the_output_of_a_real_model(callboard: Callboard) -> None:
    output = callboard.run(
        "nlp.similarity", {"pairs": [["I lost my card", "My card is gone"], ["soup", "a train"]]}
    )
    near, far = output["scores"]
    assert near > 0.6 > far


def test_a_wrong_input_names_its_fields(callboard: Callboard) -> None:
    with pytest.raises(Invalid) as caught:
        callboard.submit("nlp.embed", {"texts": [""], "pooling": "max"})
    assert {error.field for error in caught.value.errors} == {"input.texts.0", "input.pooling"}
    assert caught.value.trace_id


def test_an_output_too_large_for_the_job_comes_back_whole(callboard: Callboard) -> None:
    value = "x" * 400_000
    assert callboard.run("system.echo", {"value": value}) == {"value": value}


def test_the_same_idempotency_key_is_the_same_job(callboard: Callboard) -> None:
    first = callboard.submit("system.echo", {"value": 1}, idempotency_key="order-17")
    assert callboard.submit("system.echo", {"value": 1}, idempotency_key="order-17").id == first.id
    with pytest.raises(Invalid) as caught:
        callboard.submit("system.echo", {"value": 2}, idempotency_key="order-17")
    assert caught.value.code == "idempotency-mismatch"


def test_a_batch_runs_and_its_bad_job_spoils_none(callboard: Callboard) -> None:
    jobs = [{"type": "system.echo", "input": {"value": number}} for number in range(20)]
    *good, bad = callboard.submit_batch([*jobs, {"type": "no.such", "input": {}}])
    assert isinstance(bad, Problem)
    assert bad.status == 422
    outputs = [callboard.jobs.wait(job).output["value"] for job in good if isinstance(job, Job)]
    assert outputs == list(range(20))


def test_a_canceled_job_says_so_by_every_way_of_asking(callboard: Callboard) -> None:
    job = callboard.submit("system.echo", SLOW, metadata={"test": "cancel"})
    with pytest.raises(WaitTimeout):
        callboard.jobs.wait(job, 0.2)
    callboard.jobs.cancel(job)
    ended = callboard.jobs.wait(job, 30)
    assert ended.status == "canceled"
    *_, done = callboard.jobs.events(job)
    assert done.job == ended
    with pytest.raises(JobFailed):
        callboard.jobs.output(ended)
    with pytest.raises(Conflict):
        callboard.jobs.cancel(job)
    assert [found.id for found in callboard.jobs.list(metadata={"test": "cancel"})] == [job.id]


def test_a_retried_job_is_a_new_one_and_a_deleted_one_is_gone(callboard: Callboard) -> None:
    job = callboard.jobs.wait(callboard.submit("system.echo", {"value": 1}))
    again = callboard.jobs.wait(callboard.jobs.retry(job))
    assert (again.retried_from, again.output) == (job.id, {"value": 1})
    callboard.jobs.delete(job)
    with pytest.raises(NotFound):
        callboard.jobs.get(job)


def test_a_job_starts_after_the_one_it_waits_for(callboard: Callboard) -> None:
    first = callboard.submit("system.echo", {"value": 1, "sleep_ms": 200})
    second = callboard.submit("system.echo", {"value": 2}, after=[first])
    assert second.status == "blocked"
    ended = callboard.jobs.wait(second, 30)
    before = callboard.jobs.get(first)
    assert ended.started_at and before.finished_at
    assert ended.started_at >= before.finished_at


def test_events_resume_behind_the_one_that_is_named(callboard: Callboard) -> None:
    job = callboard.submit("system.echo", {"value": 1})
    events = list(callboard.jobs.events(job))
    assert [event.kind for event in events] == ["status", "status", "status", "done"]
    assert [event.id for event in callboard.jobs.events(job, after=events[0].id)] == [
        event.id for event in events[1:]
    ]
    assert list(callboard.jobs.events(job, after=events[-1].id)) == []


def test_files_go_up_and_come_back_the_same(callboard: Callboard, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "data.bin").write_bytes(content)
    stored = callboard.files.upload(tmp_path / "data.bin", purpose="test")
    assert callboard.files.get(stored).bytes == len(content)
    assert callboard.files.download(stored, tmp_path / "back.bin").read_bytes() == content
    assert stored.id in [file.id for file in callboard.files.list()]
    callboard.files.delete(stored)
    with pytest.raises(NotFound):
        callboard.files.get(stored)


def test_a_key_without_scope_is_refused_and_a_deleted_one_unknown(stack: Any, callboard: Callboard) -> None:
    key = callboard.keys.create("reader", ["jobs:read"])
    with Callboard(stack.url, key.key) as reader:
        assert list(reader.jobs.list()) == []
        with pytest.raises(Forbidden):
            reader.submit("system.echo", {})
        callboard.keys.delete(key)
        assert key.id not in [known.id for known in callboard.keys.list()]
        with pytest.raises(Unauthorized):
            reader.queues()


def test_a_paused_queue_waits_until_it_is_resumed(callboard: Callboard) -> None:
    callboard.pause_queue("vision")
    try:
        assert {queue.name: queue.paused for queue in callboard.queues()}["vision"]
    finally:
        callboard.resume_queue("vision")
    assert not any(queue.paused for queue in callboard.queues())


def test_usage_counts_what_ran(callboard: Callboard) -> None:
    callboard.run("system.echo", {"value": 1})
    rows = {row.type: row for row in callboard.usage(by="type")}
    assert rows["system.echo"].succeeded >= 1
    assert callboard.usage()[0].day


async def test_the_async_client_runs_many_jobs_at_once(stack: Any) -> None:
    async with AsyncCallboard(stack.url, stack.key) as callboard:
        runs = [callboard.run("system.echo", {"value": number}) for number in range(30)]
        assert [output["value"] for output in await asyncio.gather(*runs)] == list(range(30))
        job = await callboard.submit("system.echo", {"value": 1})
        assert [event.kind async for event in callboard.jobs.events(job)][-1] == "done"


def test_the_command_runs_a_job_by_options_made_from_its_type(command: Any) -> None:
    done = command("run", "nlp.embed", "--texts", "a", "--texts", "b", "--json")
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout)
    assert [len(vector) for vector in output["embeddings"]] == [output["dimensions"]] * 2


def test_the_command_reads_an_input_from_standard_input(command: Any) -> None:
    assert json.loads(
        command("run", "system.echo", "--input", "-", "--json", text='{"value": "한국"}').stdout
    ) == {"value": "한국"}


def test_the_command_lists_the_valid_types_for_an_unknown_one(command: Any) -> None:
    done = command("run", "nlp.embd")
    assert done.returncode == 2
    assert "nlp.embed, nlp.similarity" in done.stderr


def test_the_command_follows_a_job_through_its_life(command: Any) -> None:
    job_id = command("run", "system.echo", "--value", "1", "--sleep-ms", "60000", "--detach").stdout.strip()
    assert job_id in command("jobs", "list").stdout
    assert command("jobs", "cancel", job_id).returncode == 0
    assert "canceled" in command("jobs", "events", job_id).stdout
    assert json.loads(command("jobs", "get", job_id, "--json").stdout)["status"] == "canceled"
    assert command("jobs", "cancel", job_id).returncode == 1
    assert command("jobs", "delete", job_id).returncode == 0


def test_the_doctor_finds_a_running_stack_healthy(command: Any) -> None:
    done = command("doctor")
    assert done.returncode == 0, done.stdout
    assert "✗" not in done.stdout
    assert "✓ queue nlp" in done.stdout
