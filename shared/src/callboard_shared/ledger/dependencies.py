"""Jobs that start after others. The others may be in other queues, whose keys change in steps of their own:

a job is first submitted as blocked, then registered with each job it waits for; whichever of those ends leaves
a row in its own queue ("settle"), from which the blocked job is told. Each step may be repeated, and the sweep
repeats those that a crash left out. A step of a pipeline gets its input filled in before it is told of the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from callboard_shared.errors import CallboardError, LedgerError
from callboard_shared.ledger import keys, pipelining, settling, verbs
from callboard_shared.ledger.client import Call, Ledger
from callboard_shared.ledger.records import Filled, JobRecord
from callboard_shared.ledger.saying import refusal

Fill = Callable[[Ledger, JobRecord], Filled]
"""Makes a step's input whole. Raises a CallboardError with which the step is to fail, or LedgerError."""
Problem = Callable[[CallboardError], bytes]
"""An error as the JSON that a job keeps of it."""


class Dependencies:
    """Tells blocked jobs of what they waited for. What it does may be done twice, by several at once."""

    def __init__(self, ledger: Ledger, queues: Sequence[str], fill: Fill, problem: Problem) -> None:
        self._ledger, self._queues, self._fill, self._problem = ledger, queues, fill, problem

    def settle_row(self, queue: str, row: str) -> tuple[str, bool]:
        """Make one settlement of ``queue`` and strike it. Gives the dependent's queue and whether to ring there."""
        job_id, outcome, dependent_queue, dependent_id = row.split(" ")
        if dependent_queue == keys.PIPELINES:
            self._ledger.run(pipelining.step_ended(dependent_id, job_id, outcome))
            ring = False
        else:
            ring = self.settle(dependent_id, dependent_queue, job_id, outcome)
        self._ledger.run(settling.settled(queue, row))
        return dependent_queue, ring

    def settle(self, job_id: str, queue: str, other: str, outcome: str) -> bool:
        """Tell a blocked job how ``other`` ended; whether to ring for its queue."""
        ring, what, _ = self._ledger.run(settling.settle(job_id, queue, other, outcome))
        return self._make_whole(job_id, queue, other) if what == "unfilled" else ring

    def _make_whole(self, job_id: str, queue: str, other: str) -> bool:
        (record,) = self._ledger.run(verbs.read(queue, [job_id]))
        if record is None:
            return False
        try:
            made: Filled | bytes = self._fill(self._ledger, record)
        except LedgerError:
            raise
        except CallboardError as error:
            made = self._problem(error)
        ring, what, answering = self._ledger.run(settling.settle(job_id, queue, other, "succeeded", made))
        refused = refusal(what, answering)
        if refused is not None:
            made = self._problem(refused)
            ring, _, _ = self._ledger.run(settling.settle(job_id, queue, other, "succeeded", made))
        return ring

    def register_again(self, job_id: str, queue: str) -> bool:
        """Register a blocked job once more with all it waits for; whether to ring for its queue."""
        ring = False
        for other in self._ledger.run(settling.waits_for(job_id, queue)):
            states = [
                self._ledger.run(settling.depend(other, where, job_id, queue)) for where in self._queues
            ]
            known = [state for state in states if state != "missing"]
            if known and known[0] != "pending":
                ring |= self.settle(job_id, queue, other, known[0])
            elif not known and not self._is_yet_to_come(job_id, queue):
                ring |= self.settle(job_id, queue, other, "missing")
        return ring

    def _is_yet_to_come(self, job_id: str, queue: str) -> bool:
        """Whether what a job waits for, and is not there, is a step (or the beginning) of a pipeline not yet begun."""
        (record,) = self._ledger.run(verbs.read(queue, [job_id]))
        about = orjson.loads(record.spec).get("pipeline") if record is not None else None
        pipeline = self._ledger.run(pipelining.find(about["id"])) if about else None
        return pipeline is not None and bool(pipeline.jobs)

    def carry_out(self, pipeline_id: str) -> set[str]:
        """Do with a pipeline's jobs what was left undone; gives the queues to ring for."""
        pipeline = self._ledger.run(pipelining.find(pipeline_id))
        if pipeline is None:
            return set()
        ring: set[str] = set()
        if pipeline.jobs:
            self._all(pipelining.submissions(pipeline.jobs))
            self._all(pipelining.registrations(pipeline.steps))
        if pipeline.canceling:
            self._all([call for _, call in pipelining.cancellations(pipeline)])
        elif pipeline.jobs:
            for step in pipeline.steps:
                if not step.needs and self.settle(step.job_id, step.queue, pipeline.id, "succeeded"):
                    ring.add(step.queue)
        self._ledger.run(pipelining.carried_out(pipeline.id, canceled=pipeline.canceling))
        return ring

    def _all(self, calls: Sequence[Call[Any]]) -> None:
        for answer in self._ledger.run_many(calls):
            if isinstance(answer, LedgerError):
                raise answer

    def forget_step(self, pipeline_id: str, job_id: str, queue: str) -> list[str]:
        """An ended step is past its retention: it goes, unless its pipeline goes on. Gives the files that go too."""
        pipeline = self._ledger.run(pipelining.find(pipeline_id))
        if pipeline is not None and pipeline.status is None:
            return []  # a later step may need what it gave
        return self._ledger.run(verbs.delete(job_id, queue))[1]
