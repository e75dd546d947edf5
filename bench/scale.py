"""How much is measured: enough for steady figures, or a quick look."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """rounds: times that rivals and Callboard take turns; quiet_s: seconds watched while
    nothing happens; the rest are counts of jobs, requests, texts, rows, words, streams,
    photos."""

    rounds: int
    rival_jobs: int
    single_jobs: int
    batch_jobs: int
    idle_requests: int
    texts: int
    depths: tuple[int, ...]
    growth_jobs: int
    finetune_rows: int
    corpus_words: int
    streams: int
    quiet_s: float
    photos: int


FULL = Scale(
    3,
    8_000,
    15_000,
    60_000,
    300,
    6_000,
    (1_000, 10_000, 100_000, 1_000_000),
    100_000,
    600,
    5_000_000,
    10_000,
    20.0,
    1_600,
)
QUICK = Scale(
    1, 3_000, 4_000, 20_000, 100, 2_000, (1_000, 10_000, 100_000), 20_000, 64, 500_000, 2_000, 5.0, 320
)
