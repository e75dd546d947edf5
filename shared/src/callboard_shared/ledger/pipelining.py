"""Pipelines: jobs that take what others gave. The record says of what a pipeline is made and how its steps ended.

It is written first, in one step with all that is needed to submit the jobs; from then on the pipeline is accepted, and
whoever finds something left undone does it, which may be done twice. The jobs are submitted as blocked, all of them;
those that wait for nothing wait for the pipeline. How each ends is told to the record as to a dependent job, and the
last one's end is the pipeline's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from graphlib import TopologicalSorter
from typing import Any

import orjson

from callboard_shared.ledger import keys, settling, verbs
from callboard_shared.ledger.client import Call, lua
from callboard_shared.ledger.records import NewJob, SubmitReply
from callboard_shared.lenient import known
from callboard_shared.states import JobStatus

PER_CALL = 100
"""Records that one step of the ledger reads."""


@dataclass(frozen=True, slots=True)
class Step:
    """needs: the names of the steps that it waits for."""

    name: str
    type: str
    queue: str
    job_id: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewPipeline:
    """A pipeline to accept. jobs: one a step, in the same order, ``after`` those of the steps that it needs; hook:
    "statuses url" of the webhook, comma-separated; retention_ms: from its end on; webhook: as it was given."""

    id: str
    owner: str
    steps: tuple[Step, ...]
    jobs: tuple[NewJob, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    webhook: Mapping[str, Any] | None = None
    hook: str = ""
    retention_ms: int = 604_800_000

    @property
    def spec(self) -> bytes:
        facts = {
            "steps": [asdict(step) for step in self.steps],
            "metadata": self.metadata,
            "webhook": self.webhook,
        }
        return orjson.dumps(facts)


@dataclass(frozen=True, slots=True)
class PipelineRecord:
    """What the ledger knows of a pipeline. status: how it ended; ends: how its jobs did, by id; jobs: those to submit,
    until that is done; webhook: as it was given."""

    id: str
    owner: str
    created_ms: int
    steps: tuple[Step, ...]
    metadata: Mapping[str, str]
    webhook: Mapping[str, Any] | None
    status: JobStatus | None
    finished_ms: int | None
    canceling: bool
    ends: Mapping[str, JobStatus]
    jobs: tuple[NewJob, ...] = ()

    @property
    def rows(self) -> list[tuple[str, str]]:
        """(queue, id) of its jobs."""
        return [(step.queue, step.job_id) for step in self.steps]

    def last_first(self) -> list[Step]:
        """Its steps, each before those that it waits for."""
        named = {step.name: step for step in self.steps}
        order = TopologicalSorter({step.name: step.needs for step in self.steps}).static_order()
        return [named[name] for name in order][::-1]


def put(pipeline: NewPipeline, watcher: str = "") -> Call[bool]:
    """Accept a pipeline; False if it was accepted before."""
    jobs = orjson.dumps([asdict(_blocked(job)) for job in pipeline.jobs], default=bytes.decode)  # of a spec
    args = [
        pipeline.id, pipeline.owner, pipeline.spec, pipeline.hook, pipeline.retention_ms, len(pipeline.steps),
        jobs, watcher,
    ]  # fmt: skip
    return lua("accept", [keys.base(keys.PIPELINES)], args, bool, promises=True)


def find(pipeline_id: str) -> Call[PipelineRecord | None]:
    return _verb(["find", pipeline_id], lambda reply: _record(pipeline_id, reply[0]) if reply[0] else None)


def find_many(pipeline_ids: Sequence[str]) -> Call[list[PipelineRecord | None]]:
    def parse(reply: Any) -> list[PipelineRecord | None]:
        return [_record(one, row) if row else None for one, row in zip(pipeline_ids, reply, strict=True)]

    return _verb(["find", *pipeline_ids], parse)


def watch(pipeline_id: str, gateway: str) -> Call[bool]:
    """From now on ``gateway`` hears of the pipeline's end by the news."""
    return _verb(["watch", pipeline_id, gateway], bool)


def cancel(pipeline_id: str) -> Call[str]:
    """``canceling`` (its jobs are yet to be canceled), ``already-ended`` or ``missing``."""
    return _verb(["cancel", pipeline_id], lambda reply: str(reply.decode()))


def carried_out(pipeline_id: str, *, canceled: bool) -> Call[bool]:
    """All its jobs are submitted and, if that was asked, ``canceled``. False: they are yet to be canceled."""
    return _verb(["carried", pipeline_id, int(canceled)], bool)


def step_ended(pipeline_id: str, job_id: str, status: str) -> Call[str]:
    """How a step's job ended. Gives ``goes on``, how the pipeline has ended with it, ``ended`` or ``missing``."""
    return _verb(["ended", pipeline_id, job_id, status], lambda reply: str(reply.decode()))


def remove(pipeline_id: str, owner: str) -> Call[bool]:
    """Forget the record."""
    return _verb(["remove", pipeline_id, owner], bool)


def owned(owner: str, newest_ms: int | None, limit: int, offset: int = 0) -> Call[list[tuple[str, int]]]:
    """(id, created) of an owner's pipelines, newest first."""
    newest = "+inf" if newest_ms is None else newest_ms

    def parse(reply: Any) -> list[tuple[str, int]]:
        return [(one.decode(), int(made)) for one, made in zip(reply[::2], reply[1::2], strict=True)]

    return _verb(["list", owner, newest, limit, offset], parse)


def sweep(limit: int = 500) -> Call[tuple[list[str], int]]:
    """What somebody left undone, by id; and how many were forgotten."""
    return _verb(["sweep", limit], lambda reply: ([one.decode() for one in reply[0]], reply[1]))


def is_full(queue: str) -> Call[bool]:
    """Whether new jobs of a queue are refused, memory being short."""
    return Call(("HEXISTS", keys.of(queue, "stats"), "full"), bool)


def waiting(queue: str, owner: str) -> Call[int]:
    """How many jobs an owner has waiting in a queue."""
    return Call(("HGET", keys.of(queue, "waiting"), owner), lambda reply: int(reply or 0))


# --- its jobs -------------------------------------------------------------------------------------------------


def submissions(jobs: Sequence[NewJob]) -> list[Call[SubmitReply]]:
    """All of a pipeline's jobs, as blocked; their number was looked at before it was accepted."""
    queues: dict[str, list[NewJob]] = {}
    for job in jobs:
        queues.setdefault(job.queue, []).append(_blocked(job))
    return [verbs.submit(queue, some) for queue, some in queues.items()]


def registrations(steps: Sequence[Step]) -> list[Call[str]]:
    """Each step's job is to be told how those end that it waits for."""
    named = {step.name: step for step in steps}
    return [
        settling.depend(named[need].job_id, named[need].queue, step.job_id, step.queue)
        for step in steps
        for need in step.needs
    ]


def cancellations(pipeline: PipelineRecord) -> Iterator[tuple[Step, Call[str]]]:
    """Those first that wait for others, so that they end as canceled too."""
    for step in pipeline.last_first():
        yield step, verbs.cancel(step.job_id, step.queue)


def _verb(args: Sequence[Any], parse: Any) -> Call[Any]:
    return lua("pipeline", [keys.base(keys.PIPELINES)], args, parse)


def _record(pipeline_id: str, flat: Sequence[bytes]) -> PipelineRecord:
    raw = {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}
    spec = orjson.loads(raw["spec"])
    steps = tuple(Step(**{**known(Step, step), "needs": tuple(step["needs"])}) for step in spec["steps"])
    ends = {
        name[4:]: status
        for name, value in raw.items()
        if name.startswith("end:") and (status := JobStatus.known(value)) is not None
    }
    return PipelineRecord(
        pipeline_id, raw["owner"].decode(), int(raw["created"]), steps, spec["metadata"], spec["webhook"],
        JobStatus.known(raw["status"]) if "status" in raw else None,
        int(raw["finished"]) if "finished" in raw else None, "canceling" in raw, ends,
        tuple(map(_job, orjson.loads(raw["jobs"]))) if "jobs" in raw else (),
    )  # fmt: skip


def _blocked(job: NewJob) -> NewJob:
    """As it is submitted: what it names has been looked up; when it expires and what it says is for when it starts."""
    return replace(job, after=job.after or (job.pipeline,), expires_in_ms=None, names=(), says=None)


def _job(facts: dict[str, Any]) -> NewJob:
    """A job as ``put`` wrote it."""
    read = {"spec": facts["spec"].encode(), "after": tuple(facts["after"]), "names": ()}
    return NewJob(**(known(NewJob, facts) | read))
