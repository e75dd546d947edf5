"""Row group c: nlp.embed, one short text a job, beside its rivals on the same model and cores."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from bench import infinity
from bench.embedders import DTYPES, Embedder, infinity_emb, model_folder, plains, sentence_transformers
from bench.load import Job, in_batches, singly
from bench.processes import Failed
from bench.report import Row, absent, at_least, plain
from bench.scale import Scale
from bench.stack import NLP_ONLY, Measured, stack
from bench.texts import short_texts
from bench.wire import wrk_post

GROUP = "c. nlp.embed, one short text a job, end to end; rivals run alone"
CLIENTS = 32
BATCH = 500
WAITING = f"Callboard, {CLIENTS} clients that each wait for their result"
SINGLE = f"Callboard, {CLIENTS} clients that submit and go on"
BATCHED = f"Callboard, jobs:batch of {BATCH}"
SERVER = f"infinity-emb's server, {CLIENTS} clients that each wait, one text a request"
Runs = dict[str, list[float]]


def rows(scale: Scale) -> Iterator[Row]:
    """Rivals (nothing of Callboard running) and Callboard in turn; the medians are compared."""
    texts = short_texts(scale.texts)
    plain_ones, peers = plains(), list[Embedder]()
    finders: dict[str, Callable[[Sequence[str]], Embedder]] = {
        f"sentence-transformers, {dtype}": partial(sentence_transformers, dtype=dtype) for dtype in DTYPES
    }
    for name, find in {**finders, "infinity-emb": infinity_emb}.items():
        try:
            peers.append(find(texts))
        except Failed as failed:
            yield absent(GROUP, name, str(failed))
    runs: Runs = defaultdict(list)
    failures: dict[str, str] = {}
    for _ in range(scale.rounds):
        for rival in (*plain_ones, *peers):
            runs[rival.name].append(rival.rate(texts))
            if rival.short == "infinity-emb":
                try:
                    runs[SERVER].append(_server_rate(rival, texts))
                except (Failed, TimeoutError) as failed:
                    failures[SERVER] = str(failed)
        with stack(NLP_ONLY) as running:
            end_to_end(running, [{"type": "nlp.embed", "input": {"texts": [text]}} for text in texts], runs)
    yield from _compared(runs, plain_ones, peers)
    for name, why in failures.items():
        yield absent(GROUP, name, why)


def end_to_end(running: Measured, jobs: Sequence[Job], runs: Runs) -> None:
    """Jobs a second from clients that wait, that go on, and that send batches, all to the last commit."""
    singly(running, jobs, 256, CLIENTS)
    runs[WAITING].append(singly(running, jobs, len(jobs), CLIENTS, prefer="wait=30").committed)
    runs[SINGLE].append(singly(running, jobs, len(jobs), CLIENTS).committed)
    runs[BATCHED].append(in_batches(running, jobs, len(jobs), BATCH).committed)


def held_against_plain(group: str, runs: Runs, plain_names: Sequence[str], unit: str) -> Iterator[Row]:
    """Callboard's three rows, with their targets beside the fastest plain run."""
    beside = max(statistics.median(runs[name]) for name in plain_names)
    for name, factor in ((WAITING, 0.8), (SINGLE, 0.8), (BATCHED, 0.95)):
        yield at_least(group, name, runs[name], unit, beside, factor, "plain")


def _server_rate(rival: Embedder, texts: Sequence[str]) -> float:
    bodies = [json.dumps({"model": "bench", "input": [text]}) for text in texts]
    with infinity.serving(model_folder(), rival.settings) as url:
        wrk_post(url, bodies, 256, CLIENTS)
        posted = wrk_post(url, bodies, len(texts), CLIENTS)
    if set(posted.statuses) != {200}:
        raise RuntimeError(f"infinity's server answered {posted.statuses}")
    return len(texts) / posted.seconds


def _compared(runs: Runs, plain_ones: Sequence[Embedder], peers: Sequence[Embedder]) -> Iterator[Row]:
    for rival in (*plain_ones, *peers):
        yield plain(GROUP, rival.name, runs[rival.name], "texts/s")
    yield from held_against_plain(GROUP, runs, [rival.name for rival in plain_ones], "texts/s")
    for rival in peers:
        beside = statistics.median(runs[rival.name])
        for what in (SINGLE, BATCHED):
            yield at_least(GROUP, what, runs[what], "texts/s", beside, 1, rival.short)
    if SERVER in runs:
        yield plain(GROUP, SERVER, runs[SERVER], "texts/s")
        beside = statistics.median(runs[SERVER])
        yield at_least(GROUP, WAITING, runs[WAITING], "texts/s", beside, 1, "infinity's server")
