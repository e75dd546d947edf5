"""The rivals' no-ops: N messages published by one process while warm workers drain them, in messages a second.

The clock starts when the publisher sends its first message (its imports are over) and stops when the
last message has run (its result is stored, where results are on). Publisher, workers and Valkey share
the cores, as gateway, workers and Valkey do in Callboard.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import redis

from bench.processes import output, running, wait_until
from bench.valkey import valkey

WARM_UP = 200
LIMIT_S = 60.0


@dataclass(frozen=True)
class Rival:
    """name: as the table calls it; module: its program; worker: command of its worker, two processes each."""

    name: str
    module: str
    worker: tuple[str, ...]
    settings: dict[str, str] = field(default_factory=dict)
    results: bool = True


def _celery(label: str, settings: str, *options: str) -> Rival:
    worker = ("-m", "celery", "-A", "bench.rivals.celery_noop", "worker", "-l", "WARNING", *options)
    return Rival(f"Celery, {label}", "bench.rivals.celery_noop", worker, {"BENCH_SETTINGS": settings})


def _taskiq(label: str, kind: str, results: bool) -> Rival:
    module = "bench.rivals.taskiq_noop"
    worker = ("-m", "taskiq", "worker", f"{module}:broker", "--workers", "2", "--log-level", "WARNING")
    return Rival(f"taskiq, {label}", module, worker, {"BENCH_KIND": kind}, results)


def _dramatiq(label: str, results: bool) -> Rival:
    module = "bench.rivals.dramatiq_noop"
    return Rival(f"dramatiq, {label}", module, ("-m", "dramatiq", module, "-p", "2"), results=results)


CELERY = (
    _celery("defaults", "defaults", "-c", "2"),
    _celery("defaults, no gossip or mingle", "defaults", "-c", "2", "--without-gossip", "--without-mingle"),
    _celery("reliable settings", "reliable", "-c", "2"),
)
TASKIQ = (
    _taskiq("list, no results", "list", results=False),
    _taskiq("list, results", "list", results=True),
    _taskiq("stream (acknowledged), no results", "stream", results=False),
)
DRAMATIQ = (_dramatiq("no results", results=False), _dramatiq("results", results=True))


def drain_rate(rival: Rival, count: int) -> float:
    """Messages a second of one run of ``count`` messages, on a Valkey of its own."""
    with valkey() as url, tempfile.TemporaryDirectory() as folder:
        tally = Path(folder, "tally")
        tally.touch()
        env = {"BENCH_BROKER": f"{url}/0", "BENCH_TALLY": str(tally), **rival.settings}
        if rival.results:
            env["BENCH_RESULTS"] = f"{url}/1"
        with redis.Redis.from_url(f"{url}/1") as results, running(rival.worker, env, Path(folder, "log")):
            ended = _count_of(rival, results, tally)
            _publish(rival, env, WARM_UP)
            wait_until(lambda: ended() >= WARM_UP, LIMIT_S, f"{rival.name}: warm-up")
            start = _publish(rival, env, count)
            end = wait_until(lambda: ended() >= WARM_UP + count, LIMIT_S, f"{rival.name}: {count} messages")
            return count / (end - start)


def _publish(rival: Rival, env: dict[str, str], count: int) -> float:
    return float(output(("-m", rival.module, str(count)), env).split()[-1])


def _count_of(rival: Rival, results: redis.Redis, tally: Path) -> Callable[[], int]:
    """How to know how many messages ended: results stored (a key each), or runs counted."""
    if rival.results:
        return lambda: int(results.dbsize())
    return lambda: tally.stat().st_size
