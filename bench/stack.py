"""A stack to be measured: limits off, in a folder of its own, and what the bench asks it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import wait_until
from bench.wire import Wire, wire
from callboard_embedded.folder import Folder
from callboard_embedded.stack import Stack
from callboard_embedded.valkey import recall

NO_LIMITS = {
    "CALLBOARD_RATE_LIMIT_PER_S": "0",
    "CALLBOARD_MAX_WAITING_JOBS": "2000000",
    "CALLBOARD_LOG_LEVEL": "WARNING",
    "CALLBOARD_OFFLINE": "true",
}
ECHO_ONLY = "nlp=0,nlp-train=0,llm=0,vision=0,vision-train=0"
NLP_ONLY = "nlp-train=0,llm=0,vision=0,vision-train=0"
TRAIN_ONLY = "nlp=0,llm=0,vision=0,vision-train=0"
VISION_ONLY = "nlp=0,nlp-train=0,llm=0,vision-train=0"
LLM_ONLY = "nlp=0,nlp-train=0,vision=0,vision-train=0"
DRAIN_S = 300.0


@dataclass(frozen=True)
class Measured:
    """A running stack: its address, key, the supervisor's pid, and its ledger's URL."""

    url: str
    key: str
    pid: int
    redis_url: str

    @contextmanager
    def wire(self) -> Iterator[Wire]:
        with wire(self.url, self.key) as connection:
            yield connection


@contextmanager
def stack(workers: str = "", extra: Mapping[str, str] | None = None) -> Iterator[Measured]:
    """Start the embedded stack with so many of each worker (as ``CALLBOARD_WORKERS``) and end it again.

    ``extra``: further settings.
    """
    with tempfile.TemporaryDirectory(prefix="callboard-bench-", ignore_cleanup_errors=True) as home:
        folder = Path(home)
        env = {**NO_LIMITS, "CALLBOARD_WORKERS": workers, **(extra or {})}
        with Stack(folder, env=env, output=folder / "said") as started:
            yield Measured(started.url, started.key, started.pid, recall(Folder(folder)).url)


def succeeded(connection: Wire, job_type: str) -> int:
    """Jobs of a type that have been committed as succeeded, by the usage that the committing step counts."""
    rows = connection.get("/v1/usage?by=type")["data"]
    return sum(int(row["succeeded"]) for row in rows if row["type"] == job_type)


def await_committed(connection: Wire, job_type: str, count: int) -> float:
    """Wait until ``count`` jobs of the type have succeeded; the moment of it (``time.perf_counter``)."""
    return wait_until(
        lambda: succeeded(connection, job_type) >= count,
        DRAIN_S,
        f"{count} jobs of {job_type} committed",
        0.05,
    )


def await_idle(connection: Wire) -> None:
    """Wait until no job is ready or running."""

    def idle() -> bool:
        return not any(queue["ready"] + queue["running"] for queue in connection.get("/v1/queues")["data"])

    wait_until(idle, DRAIN_S, "every queue empty", 0.05)
