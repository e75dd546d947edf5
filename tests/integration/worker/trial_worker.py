"""The worker that the trials run: its handlers do what the job's input says, also what no handler should."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

import redis

from callboard_shared import redis_address
from callboard_shared.errors import FinalError, RetryableError
from callboard_shared.jobs import Batch, FileInput, Input, JobType, Output
from callboard_shared.settings import LedgerSettings
from callboard_shared.worker import Job, Worker


class Order(Input):
    do: str
    value: Any = None
    s: float = 0


class Answer(Output):
    value: Any = None


class Errand(Input):
    """What is to be fetched, and read."""

    file: FileInput


class Panic(BaseException):
    """As Rust libraries raise it: no Exception."""


class NotedError(Exception):
    pass


def _type(name: str, queue: str, batch: Batch | None = None) -> JobType[Order, Answer]:
    return JobType(
        name=name, queue=queue, input=Order, output=Answer, summary="", example={"do": "give"}, batch=batch
    )


POOL, SLOTS = os.environ["TRIAL_POOL"], int(os.environ["TRIAL_SLOTS"])
notes = redis.Redis(connection_pool=redis_address.pool(LedgerSettings().redis_url.get_secret_value()))
worker = Worker("trial", queues=("nlp",), pool=POOL, slots=SLOTS)  # type: ignore[arg-type]
app = worker.celery


def note(name: str, value: Any) -> None:
    try:
        notes.rpush(f"trial:{name}", str(value))
    except redis.ConnectionError as error:  # some trials kill the Redis that has the notes as well
        raise RetryableError("The notes cannot be written.", retry_after_s=0.1) from error


def obey(job: Job[Order]) -> Answer:
    order, context = job.input, job.context
    note("started", f"{job.id} {job.attempt} {os.getpid()}")
    act = ACTS.get(order.do)
    if act is not None:
        return Answer(value=act(job))
    if order.do == "talk":
        for i in range(order.value):
            context.delta(f"{i} ")
            context.progress(i / order.value, f"step {i}")
            context.log("info", f"line {i}")
            time.sleep(order.s)
    return Answer(value=order.value)


def _polite(job: Job[Order]) -> None:
    until = time.monotonic() + job.input.s
    while time.monotonic() < until:
        job.context.check_canceled()
        time.sleep(0.01)


def _die(job: Job[Order]) -> None:
    if job.attempt <= (job.input.value or 99):
        os.kill(os.getpid(), signal.SIGKILL)


def _retry(job: Job[Order]) -> None:
    if job.attempt < job.input.value:
        job.context.put_file("attempt.txt", b"of no use", "text/plain")
        raise RetryableError("not yet", retry_after_s=0.1)


def _tidy(job: Job[Order]) -> str:
    job.context.once_committed(lambda: note("tidied", f"{job.id} {job.attempt}"))
    if job.attempt < job.input.value:
        raise RetryableError("not yet", retry_after_s=0.1)
    return "done"


def _raise(error: BaseException) -> Any:
    raise error


ACTS: dict[str, Any] = {
    "give": lambda job: job.input.value,
    "sleep": lambda job: time.sleep(job.input.s),
    "polite": _polite,
    "die": _die,
    "tidy": _tidy,
    "retry": _retry,
    "final": lambda job: _raise(FinalError("never", code="trial-final")),
    "bug": lambda job: _raise(NotedError("cb_abcdefgh_" + "s" * 43 + " \ud800")),
    "exit": lambda job: sys.exit(3),
    "panic": lambda job: _raise(Panic("a library panicked")),
    "big": lambda job: "x" * job.input.value,
    "hold the interpreter": lambda job: ctypes.PyDLL(None).usleep(int(job.input.s * 1e6)),
    "file": lambda job: job.context.put_file("a.txt", b"made", "text/plain").id,
}


def obey_all(jobs: Sequence[Job[Order]]) -> list[Any]:
    note("batches", len(jobs))
    if any(job.input.do == "spoil the batch" for job in jobs):
        raise ValueError("one job spoils it")
    if any(job.input.do == "too few" for job in jobs):
        return []
    results: list[Any] = []
    for job in jobs:
        try:
            results.append(obey(job))
        except Exception as error:
            results.append(error)
    return results


def read_all(jobs: Sequence[Job[Errand]]) -> list[Any]:
    note("read", " ".join(sorted(job.id for job in jobs)))
    results: list[Any] = []
    for job in jobs:
        try:
            with job.context.open_file(job.input.file) as opened:
                results.append(Answer(value=opened.content.read().decode()))
        except Exception as error:
            results.append(error)
    return results


async def obey_soon(job: Job[Order]) -> Answer:
    order = job.input
    if order.do == "sleep":
        note("started", f"{job.id} {job.attempt} {os.getpid()}")
        await asyncio.sleep(order.s)
        return Answer()
    if order.do == "refuse to stop":
        note("started", f"{job.id} {job.attempt} {os.getpid()}")
        until = time.monotonic() + order.s
        while time.monotonic() < until:
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue
        return Answer()
    return obey(job)


if POOL == "prefork":
    worker.handles(_type("trial.batch", "nlp", Batch(max_jobs=8)))(obey_all)
    worker.handles(_type("trial.one", "nlp"))(obey)
    worker.handles(
        JobType(
            name="trial.errand",
            queue="nlp",
            input=Errand,
            output=Answer,
            summary="",
            example={"file": {"base64": ""}},
            batch=Batch(max_jobs=8),
        )
    )(read_all)
else:
    worker.handles(_type("trial.one", "nlp"))(obey_soon)


@worker.on_start
def _load() -> None:
    note("loaded", os.getpid())
    if os.environ.get("TRIAL_BROKEN_START"):
        raise RuntimeError("the model is not there")
