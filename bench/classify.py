"""Row group f: nlp.classify, one short text a job, beside transformers on the same classifier and cores."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.embed import Runs, end_to_end, held_against_plain
from bench.embedders import OFFLINE, model_folder
from bench.processes import output
from bench.report import Row, plain
from bench.scale import Scale
from bench.stack import NLP_ONLY, stack
from bench.texts import short_texts
from callboard_shared.jobs.nlp import DEFAULT_CLASSIFIER
from callboard_shared.settings import ModelSettings, cpu_count

GROUP = "f. nlp.classify, one short text a job, end to end; plain runs alone"
UNTRAINED = """
import sys
from transformers import AutoModelForSequenceClassification, AutoTokenizer
AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])
AutoModelForSequenceClassification.from_pretrained(sys.argv[1], num_labels=2).save_pretrained(sys.argv[2])
"""


def rows(scale: Scale) -> Iterator[Row]:
    """Yardsticks (nothing of Callboard running) and Callboard in turn; the medians are compared."""
    texts = short_texts(scale.texts)
    runs: Runs = defaultdict(list)
    names = {
        f"{label}, batch 32, threads: {threads}": (kind, threads)
        for kind, label in (("plain", "plain transformers"), ("pipeline", "transformers' pipeline"))
        for threads in sorted({1, cpu_count()})
    }
    with _classifier() as (model, models_dir):
        jobs = [{"type": "nlp.classify", "input": {"texts": [text], "model": model.name}} for text in texts]
        for _ in range(scale.rounds):
            for name, (kind, threads) in names.items():
                runs[name].append(_rate(model, kind, threads, texts))
            with stack(NLP_ONLY, models_dir) as running:
                end_to_end(running, jobs, runs)
    for name in names:
        yield plain(GROUP, name, runs[name], "texts/s")
    yield from held_against_plain(GROUP, runs, list(names), "texts/s")


@contextmanager
def _classifier() -> Iterator[tuple[Path, dict[str, str]]]:
    """The default classifier's folder, or one made of the packaged encoder: its head is not trained, which costs
    the same. With it the settings by which a stack finds it."""
    made = ModelSettings().default_models_path / DEFAULT_CLASSIFIER
    if (made / "config.json").exists():
        yield made, {}
        return
    with tempfile.TemporaryDirectory(prefix="callboard-bench-") as folder:
        model = Path(folder, "untrained-classifier")
        output(("-c", UNTRAINED, str(model_folder()), str(model)), OFFLINE)
        yield model, {"CALLBOARD_MODELS_DIR": folder}


def _rate(model: Path, kind: str, threads: int, texts: Sequence[str]) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(list(texts), file)
        file.flush()
        command = ("-m", "bench.rivals.plain_classifier", str(model), str(threads), kind, file.name)
        return float(output(command, OFFLINE).split()[-1])
