"""Pipelines with the courier as a process: it begins what nobody began, and a kill at any moment changes nothing."""

from __future__ import annotations

import orjson
import pytest
from trials import Running, Trial, until

from callboard_gateway.pipeline_submission import PipelineReader
from callboard_shared.ledger import pipelining
from callboard_shared.ledger.keys import hook
from callboard_shared.ledger.pipelining import NewPipeline, PipelineRecord
from callboard_shared.states import JobStatus
from callboard_shared.submission import Reader
from callboard_shared.urls import Policy

LENGTH = 6


def courier(trial: Trial) -> Running:
    running = trial.start("callboard_courier", {})
    until(lambda: trial.online(running, "system"), 30, "the courier is online")
    return running


def a_chain(trial: Trial) -> NewPipeline:
    """Accepted, and left so: as by a gateway that was killed in the next moment. Each step adds a word."""
    steps: dict[str, object] = {"s0": {"type": "system.echo", "input": {"value": "0", "sleep_ms": 300}}}
    for i in range(1, LENGTH):
        value = f"${{s{i - 1}.output.value}} {i}"
        steps[f"s{i}"] = {"type": "system.echo", "input": {"value": value, "sleep_ms": 300}}
    body = {"steps": steps, "webhook": {"url": "http://127.0.0.1:9/"}}
    pipeline = PipelineReader(Reader(urls=Policy(allow_private=True))).read(body, "key_a")
    trial.ledger.run(pipelining.put(pipeline))
    return pipeline


def record_of(trial: Trial, pipeline: NewPipeline) -> PipelineRecord:
    record = trial.ledger.run(pipelining.find(pipeline.id))
    assert record is not None
    return record


@pytest.mark.slow
def test_a_courier_killed_in_every_step_changes_nothing(trial: Trial) -> None:
    pipeline = a_chain(trial)
    running = courier(trial)
    for job in pipeline.jobs:
        until(
            lambda job=job: trial.read_all([job.id], "system") and trial.read(job.id, "system").started_ms,
            30,
            job.id,
        )
        running.kill()
        running = courier(trial)
    until(lambda: record_of(trial, pipeline).status, 30, "the pipeline has ended")
    ended = record_of(trial, pipeline)
    assert ended.status is JobStatus.SUCCEEDED
    last = trial.read(pipeline.jobs[-1].id, "system")
    assert orjson.loads(last.output or b"") == {"value": " ".join(str(i) for i in range(LENGTH))}
    for job in pipeline.jobs:
        told = trial.statuses(job.id, "system")
        assert told.count("succeeded") == 1 and told[-1] == "succeeded"
    until(lambda: trial.redis.zcard(hook("deliveries", "key_a")), 30, "its webhook is to be delivered")
    ids = trial.redis.zrange(hook("deliveries", "key_a"), 0, -1)
    events = [trial.redis.hget(hook("delivery", one.decode()), "event") for one in ids]
    assert events == [b"pipeline.succeeded"]
