"""Procedures of several requests, without I/O: waiting for a job, and running one from input to output."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

from callboard_client import _batch_calls as batch_calls
from callboard_client import _calls as calls
from callboard_client import _pipeline_calls as pipeline_calls
from callboard_client._errors import JobFailed, PipelineFailed, WaitTimeout
from callboard_client._models import Batch, Job, Pipeline
from callboard_client._retries import Retries, exchange
from callboard_client._wire import Call, Flow

HOLD_S = 30
FILE_REFERENCE = frozenset({"file_id", "media_type", "bytes", "sha256", "url"})

Clock = Callable[[], float]
Ending = TypeVar("Ending", Job, Pipeline, Batch)


def wait(job: Job | str, wait_s: float | None, retries: Retries, clock: Clock = time.monotonic) -> Flow[Job]:
    """Long polls until the job has ended; ``WaitTimeout`` after ``wait_s`` seconds."""
    known = job if isinstance(job, Job) else None
    return _until_ended(known, lambda hold: calls.get_job(job, hold_s=hold), wait_s, retries, clock)


def wait_for_pipeline(
    pipeline: Pipeline | str, wait_s: float | None, retries: Retries, clock: Clock = time.monotonic
) -> Flow[Pipeline]:
    """As ``wait``, of a pipeline."""
    known = pipeline if isinstance(pipeline, Pipeline) else None
    get = pipeline_calls.get
    return _until_ended(known, lambda hold: get(pipeline, hold_s=hold), wait_s, retries, clock)


def wait_for_batch(
    batch: Batch | str, wait_s: float | None, retries: Retries, clock: Clock = time.monotonic
) -> Flow[Batch]:
    """As ``wait``, of a batch."""
    known = batch if isinstance(batch, Batch) else None
    return _until_ended(known, lambda hold: batch_calls.get(batch, hold_s=hold), wait_s, retries, clock)


def _until_ended(
    known: Ending | None,
    ask: Callable[[int], Call[Ending]],
    wait_s: float | None,
    retries: Retries,
    clock: Clock,
) -> Flow[Ending]:
    """``ask``: the call, given the seconds that the gateway may hold the answer."""
    begun = clock()
    while True:
        left = math.inf if wait_s is None else wait_s - (clock() - begun)
        if left <= 0 and known is not None:
            raise WaitTimeout(known, wait_s or 0)
        hold = _hold(left)
        known = yield from exchange(ask(hold), retries)
        if known.has_ended:
            return known
        if left <= 0:
            raise WaitTimeout(known, wait_s or 0)


def _hold(left_s: float) -> int:
    """Whole seconds to have the gateway hold the answer: at least 1 while any patience is left."""
    return math.ceil(min(HOLD_S, left_s)) if left_s > 0 else 0


def run(
    submission: Callable[[int], Call[Job]],
    wait_s: float | None,
    retries: Retries,
    clock: Clock = time.monotonic,
) -> Flow[Any]:
    """Submit, wait, and give the output; ``JobFailed`` if the job ended in any other way.

    submission: the call, given the seconds that the gateway may hold the answer.
    """
    begun = clock()
    hold = _hold(math.inf if wait_s is None else wait_s)
    ended = yield from exchange(submission(hold), retries)
    if not ended.has_ended:
        left = None if wait_s is None else max(0.0, wait_s - (clock() - begun))
        try:
            ended = yield from wait(ended, left, retries, clock)
        except WaitTimeout as error:
            raise WaitTimeout(error.job, wait_s or 0) from None
    return (yield from output(ended, retries))


def run_pipeline(
    submission: Callable[[int], Call[Pipeline]],
    wait_s: float | None,
    retries: Retries,
    clock: Clock = time.monotonic,
) -> Flow[Pipeline]:
    """Submit and wait; ``PipelineFailed`` if it ended in any other way than well."""
    begun = clock()
    ended = yield from exchange(submission(_hold(math.inf if wait_s is None else wait_s)), retries)
    if not ended.has_ended:
        left = None if wait_s is None else max(0.0, wait_s - (clock() - begun))
        ended = yield from wait_for_pipeline(ended, left, retries, clock)
    if not ended.has_succeeded:
        raise PipelineFailed(ended)
    return ended


def output(job: Job, retries: Retries) -> Flow[Any]:
    """The output of an ended job; a large one, which the gateway keeps as a JSON file, is fetched."""
    if not job.has_succeeded:
        raise JobFailed(job)
    value = job.output
    if not is_stored_json(value):
        return value
    return json.loads((yield from exchange(calls.read_content(value["file_id"]), retries)))


def is_stored_json(value: Any) -> bool:
    """Whether an output is nothing but a reference to itself, kept as a file because of its size."""
    return (
        isinstance(value, dict)
        and value.keys() >= FILE_REFERENCE
        and value["media_type"] == "application/json"
    )
