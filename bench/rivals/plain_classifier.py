"""The yardsticks of nlp.classify: a classifier in one process, batch 32, as its users write it.

Arguments: folder of the model, threads, ``plain`` (tokenizer, model, softmax) or ``pipeline`` (transformers' own), a
JSON file with the texts. Prints texts a second.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

BATCH = 32


def main(folder: str, threads: int, kind: str, texts: list[str]) -> float:
    """The probability of every label of every text, as Python numbers."""
    torch.set_num_threads(threads)
    classify = _pipeline(folder) if kind == "pipeline" else _plain(folder)
    with torch.inference_mode():
        classify(texts[: 8 * BATCH])
        start = time.perf_counter()
        found = classify(texts)
        took = time.perf_counter() - start
    if len(found) != len(texts):
        raise RuntimeError(f"{len(found)} answers to {len(texts)} texts")
    return len(texts) / took


def _plain(folder: str) -> Callable[[list[str]], list[Any]]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    labels = [model.config.id2label[column] for column in range(model.config.num_labels)]

    def classify(texts: list[str]) -> list[Any]:
        found = []
        for at in range(0, len(texts), BATCH):
            encoded = tokenizer(texts[at : at + BATCH], padding=True, truncation=True, return_tensors="pt")
            found += [
                dict(zip(labels, row, strict=True)) for row in model(**encoded).logits.softmax(-1).tolist()
            ]
        return found

    return classify


def _pipeline(folder: str) -> Callable[[list[str]], list[Any]]:
    ready: Any = pipeline("text-classification", model=folder, top_k=None, batch_size=BATCH, truncation=True)
    return lambda texts: list(ready(texts))


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], json.loads(Path(sys.argv[4]).read_text())))
