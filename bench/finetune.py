"""Row group g: nlp.finetune beside a bare Trainer script on the same rows, settings and cores."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from bench.embedders import OFFLINE, model_folder
from bench.processes import output
from bench.report import Row, at_least, beside, plain
from bench.scale import Scale
from bench.stack import TRAIN_ONLY, stack
from bench.texts import reviews
from bench.training import train

GROUP = "g. nlp.finetune of the packaged encoder, batches of 8, cut at 64 tokens; the script runs alone"
EPOCHS, BATCH, LENGTH, RATE, SEED = 2, 8, 64, 5e-5, 42
WARM_UP = 16
UNIT = "steps/s"


def rows(scale: Scale) -> Iterator[Row]:
    """Script (nothing of Callboard running) and job in turn; the medians are compared."""
    found = reviews(scale.finetune_rows + scale.finetune_rows // 4)
    data = {"train": found[: scale.finetune_rows], "eval": found[scale.finetune_rows :]}
    runs: dict[str, list[float]] = defaultdict(list)
    for _ in range(scale.rounds):
        bare = _bare(data)
        runs["bare"].append(bare["steps_per_s"])
        runs["bare whole"].append(bare["whole_s"])
        with stack(TRAIN_ONLY) as running:
            train(
                running, "nlp.finetune", {**_input(data), "train_samples": WARM_UP, "eval_samples": WARM_UP}
            )
            trained = train(running, "nlp.finetune", _input(data))
        runs["job"].append(trained.steps_per_s)
        runs["job whole"].append(trained.run_s)
    yield plain(GROUP, "bare Trainer script: first step to last, a measuring between", runs["bare"], UNIT)
    yield at_least(
        GROUP,
        "Callboard, by the job's events",
        runs["job"],
        UNIT,
        statistics.median(runs["bare"]),
        0.95,
        "bare",
    )
    yield plain(GROUP, "  the whole script: load, train, measure, save", runs["bare whole"], "s")
    whole = statistics.median(runs["bare whole"])
    yield beside(
        GROUP,
        "  the whole run of the job: load, train, measure, plot, publish",
        runs["job whole"],
        "s",
        whole,
    )


def _bare(data: dict[str, Any]) -> dict[str, float]:
    given = {
        **data,
        "epochs": EPOCHS,
        "max_length": LENGTH,
        "learning_rate": RATE,
        "batch_size": BATCH,
        "seed": SEED,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(given, file)
        file.flush()
        said = output(("-m", "bench.rivals.bare_trainer", str(model_folder()), file.name), OFFLINE, 1800)
    measured: dict[str, float] = json.loads(said.splitlines()[-1])
    return measured


def _input(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "dataset": data["train"], "eval_dataset": data["eval"], "epochs": EPOCHS, "max_length": LENGTH,
        "train_batch_size": BATCH, "eval_batch_size": BATCH, "learning_rate": RATE, "seed": SEED, "name": "bench",
        "train_samples": len(data["train"]), "eval_samples": len(data["eval"]),
    }  # fmt: skip
