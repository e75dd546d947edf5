"""Pipelines of any shape, whose parts are done in any order, twice, late or by somebody else: each step runs when it may,
with what it was to get, and the whole ends once."""

from __future__ import annotations

from typing import Any

import orjson
from builders import LEASE_MS, OWNER, RUNNER
from clocked import START_MS, ClockedLedger
from couriers import Courier
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callboard_gateway.pipeline_submission import PipelineReader
from callboard_shared.ledger import Ended, JobRecord, pipelining, upkeep, verbs
from callboard_shared.ledger.keys import PIPELINES, of
from callboard_shared.ledger.pipelining import NewPipeline
from callboard_shared.states import JobStatus
from callboard_shared.submission import Reader

QUEUE = "system"
MOST_STEPS = 7


@st.composite
def shapes(draw: st.DrawFn) -> list[list[int]]:
    """For each step, the earlier ones that it refers to."""
    count = draw(st.integers(1, MOST_STEPS))
    return [draw(st.lists(st.integers(0, at - 1), unique=True)) if at else [] for at in range(count)]


def a_pipeline(shape: list[list[int]]) -> NewPipeline:
    """Each step's value is its number and the values of those that it refers to."""
    steps = {
        f"s{at}": {
            "type": "system.echo",
            "input": {"value": [at, *(f"${{s{need}.output.value}}" for need in needs)]},
        }
        for at, needs in enumerate(shape)
    }
    body = {"steps": steps, "webhook": {"url": "https://example.com/"}}
    return PipelineReader(Reader()).read(body, OWNER)


class Play:
    """What gateways, couriers and a worker do with one pipeline, a little at a time."""

    def __init__(
        self, ledger: ClockedLedger, pipeline: NewPipeline, failing: set[int], data: st.DataObject
    ) -> None:
        self.ledger, self.pipeline, self.failing, self.data = ledger, pipeline, failing, data
        self.courier = Courier(ledger, (QUEUE,))
        self.runs: dict[str, Any] = {}
        self.struck: list[str] = []
        self.acts = [
            self.submit_some, self.register, self.carry_out, self.work, self.work, self.tell_one, self.tell_again,
            self.look_again, self.sweep_later,
        ]  # fmt: skip

    def jobs(self) -> list[JobRecord | None]:
        return self.ledger.run(verbs.read(QUEUE, [job.id for job in self.pipeline.jobs]))

    def submit_some(self) -> None:
        first = self.data.draw(st.integers(0, len(self.pipeline.jobs) - 1))
        self.ledger.run_many(pipelining.submissions(self.pipeline.jobs[first:]))

    def register(self) -> None:
        """Some gateways get no further than a part of it."""
        calls = pipelining.registrations(self.pipeline.steps)
        self.ledger.run_many(calls[: self.data.draw(st.integers(0, len(calls)))] or [verbs.ping()])

    def carry_out(self) -> None:
        self.courier.dependents.carry_out(self.pipeline.id)

    def work(self) -> None:
        claim = verbs.claim(QUEUE, RUNNER, limits={"system.echo": (1, 0)}, max_jobs=1, lease_ms=LEASE_MS)
        for job in self.ledger.run(claim).jobs:
            assert job.id not in self.runs, "a step ran twice"
            value = orjson.loads(job.spec)["input"]["value"]
            self.runs[job.id] = value
            output = orjson.dumps({"value": value})
            ended = (
                Ended(job.id, 1, "failed", error=b'{"code":"x"}')
                if value[0] in self.failing
                else Ended(job.id, 1, "succeeded", output=output)
            )
            self.ledger.run(verbs.finish(QUEUE, RUNNER, [ended]))

    def tell_one(self) -> None:
        rows = sorted(self.ledger.run(upkeep.settlements(QUEUE)))
        if rows:
            row = self.data.draw(st.sampled_from(rows))
            self.courier.dependents.settle_row(QUEUE, row)
            self.struck.append(row)

    def tell_again(self) -> None:
        """A courier that was killed before it struck a row, or was stopped for a while."""
        if self.struck:
            self.courier.dependents.settle_row(QUEUE, self.data.draw(st.sampled_from(self.struck)))

    def look_again(self) -> None:
        for record in self.jobs():
            if record is not None and record.status is JobStatus.BLOCKED:
                self.courier.dependents.register_again(record.id, QUEUE)

    def sweep_later(self) -> None:
        self.ledger.pass_time(self.data.draw(st.sampled_from([1_000, 5_000, 30_000])))
        self.courier.sweep()

    def to_the_end(self) -> None:
        for _ in range(4 * MOST_STEPS):
            self.work()
            self.ledger.pass_time(5_000)
            self.courier.sweep()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=shapes(), data=st.data())
def test_a_pipeline_ends_as_its_steps_do_whatever_is_done_when(
    ledger: ClockedLedger, shape: list[list[int]], data: st.DataObject
) -> None:
    ledger.redis.flushdb()
    ledger.set_time(START_MS)
    failing = data.draw(st.sets(st.integers(0, len(shape) - 1), max_size=2))
    pipeline = a_pipeline(shape)
    ledger.run(pipelining.put(pipeline))
    play = Play(ledger, pipeline, failing, data)
    for act in data.draw(st.lists(st.sampled_from(play.acts), min_size=20, max_size=50)):
        act()
    play.to_the_end()

    values: dict[int, list[Any]] = {}
    for at, (needs, record) in enumerate(zip(shape, play.jobs(), strict=True)):
        assert record is not None
        runs = all(need in values for need in needs)
        assert (record.id in play.runs) == runs
        if runs:
            assert play.runs[record.id] == [at, *(values[need] for need in needs)]
        else:
            assert orjson.loads(record.error or b"{}")["code"] == "dependency-failed"
        well = runs and at not in failing
        assert record.status is (JobStatus.SUCCEEDED if well else JobStatus.FAILED)
        if well:
            values[at] = play.runs[record.id]
    ended = ledger.run(pipelining.find(pipeline.id))
    assert ended is not None
    outcome = JobStatus.SUCCEEDED if len(values) == len(shape) else JobStatus.FAILED
    assert ended.status is outcome
    assert ended.ends == {record.id: record.status for record in play.jobs() if record is not None}
    assert ended.finished_ms is not None
    assert all(
        record.finished_ms <= ended.finished_ms for record in play.jobs() if record and record.finished_ms
    )
    rows = [fields[b"event"].decode() for _, fields in ledger.redis.xrange(of(PIPELINES, "outbox"))]
    assert rows == [f"pipeline.{outcome}"]
    assert ledger.redis.hgetall(of(QUEUE, "waiting")) == {}
    left = [ledger.redis.zcard(of(QUEUE, name)) for name in ("blocked", "lease")]
    assert [*left, ledger.redis.zcard(of(PIPELINES, "due")), ledger.redis.scard(of(QUEUE, "settle"))] == [
        0
    ] * 4
