"""How good nlp.finetune's default recipe is on real reviews: ``python -m bench.accuracy``.

A job with nothing but its data set: 1,000 of 9,173 film-review sentences to train on, 500 to measure on. Its model and
the default classifier are then measured by nlp.evaluate on 1,000 sentences that neither was trained on. Takes some
minutes.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
import time
from pathlib import Path

from bench.stack import stack
from callboard_client import Callboard
from callboard_nlp.data import labelled, splits
from callboard_nlp.data.labelled import Rows
from callboard_nlp.data.reviews import film_reviews
from callboard_nlp.data.rows import Source

SEED, HELD_OUT = 42, 1000
LIMIT_S = 3600.0


def main() -> int:
    reviews = film_reviews()
    source = Source("reviews", lambda: zip(reviews.texts, reviews.labels, strict=True))
    found = labelled.survey(source, lambda: None)
    # The end of the same order, of which the job takes the beginning.
    _, rest = splits.split(source, found, found.rows - HELD_OUT, HELD_OUT, SEED)
    with (
        tempfile.TemporaryDirectory(prefix="callboard-accuracy-") as folder,
        stack("llm=0,vision=0,vision-train=0") as running,
        Callboard(running.url, running.key) as callboard,
    ):
        data = callboard.files.upload(_csv(Path(folder, "reviews.csv"), reviews))
        began = time.monotonic()
        tuned = callboard.run("nlp.finetune", {"dataset": {"file_id": data.id}}, wait_s=LIMIT_S)
        for epoch in tuned["history"]:
            print(json.dumps({name: round(value, 4) for name, value in epoch.items()}))
        took = time.monotonic() - began
        print(f"{tuned['train_samples']} rows to train on, {tuned['steps']} steps, {took:.0f} s")
        others = callboard.files.upload(_csv(Path(folder, "rest.csv"), rest))
        for model in (tuned["model"], "sentiment"):
            value = {"model": model, "dataset": {"file_id": others.id}}
            told = callboard.run("nlp.evaluate", value, wait_s=LIMIT_S)
            print(
                f"{model}: accuracy {told['accuracy']:.3f}, F1 {told['f1']:.3f} on {told['samples']} sentences"
            )
    return 0


def _csv(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(zip(rows.texts, rows.labels, strict=True))
    return path


if __name__ == "__main__":
    sys.exit(main())
