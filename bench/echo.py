"""Row group a: what a job costs end to end, as the cheapest job shows it, beside the rivals' no-ops."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator

from bench.load import in_batches, singly
from bench.report import Row, at_least, plain
from bench.rivals.bare import bare_fastapi_rate
from bench.rivals.drain import CELERY, DRAMATIQ, TASKIQ, Rival, drain_rate
from bench.scale import Scale
from bench.stack import ECHO_ONLY, stack

GROUP = "a. system.echo over HTTP (submit, run, commit) beside no-ops published and drained"
JOB = {"type": "system.echo", "input": {"value": 1}}
CONNECTIONS = (32, 64)
BATCH = 1000


def rows(scale: Scale) -> Iterator[Row]:
    """Every system in turn, as many rounds as the scale says; the medians are compared."""
    runs: dict[str, list[float]] = defaultdict(list)
    for _ in range(scale.rounds):
        for rival in (*CELERY, *TASKIQ, *DRAMATIQ):
            runs[rival.name].append(drain_rate(rival, scale.rival_jobs))
        runs["bare"].append(bare_fastapi_rate(scale.rival_jobs, CONNECTIONS[0]))
        _own(scale, runs)
    yield from _compared(runs)


def _own(scale: Scale, runs: dict[str, list[float]]) -> None:
    with stack(ECHO_ONLY) as running:
        singly(running, [JOB], 500, CONNECTIONS[0])
        for connections in CONNECTIONS:
            rates = singly(running, [JOB], scale.single_jobs, connections)
            runs[f"single {connections}"].append(rates.committed)
            runs[f"accepted {connections}"].append(rates.accepted)
        rates = in_batches(running, [JOB], scale.batch_jobs, BATCH)
        runs["batch"].append(rates.committed)
        runs["batch accepted"].append(rates.accepted)


def _compared(runs: dict[str, list[float]]) -> Iterator[Row]:
    def best(rivals: tuple[Rival, ...]) -> float:
        return max(statistics.median(runs[rival.name]) for rival in rivals)

    for rival in (*CELERY, *TASKIQ, *DRAMATIQ):
        yield plain(GROUP, f"no-ops of {rival.name}", runs[rival.name], "/s")
    yield plain(GROUP, "bare FastAPI, one Redis pipeline a POST; runs nothing", runs["bare"], "/s")
    single = max((f"single {n}" for n in CONNECTIONS), key=lambda name: statistics.median(runs[name]))
    label = f"Callboard, single POSTs, {single.split()[1]} connections"
    for factor, beside, name in (
        (2.5, best(CELERY), "Celery"),
        (1.0, best(TASKIQ), "taskiq"),
        (1.0, best(DRAMATIQ), "dramatiq"),
    ):
        yield at_least(GROUP, label, runs[single], "/s", beside, factor, name)
    yield plain(GROUP, "  of that: accepted", runs[single.replace("single", "accepted")], "/s")
    yield at_least(
        GROUP, f"Callboard, jobs:batch of {BATCH:,}", runs["batch"], "/s", best(CELERY), 8, "Celery"
    )
    yield plain(GROUP, "  of that: accepted", runs["batch accepted"], "/s")
