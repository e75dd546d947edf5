"""The yardstick of nlp.finetune: a bare Trainer script, as its users write it.

Arguments: folder of the encoder, and a JSON file {"train": [{text, label}], "eval": […], "epochs", "max_length",
"learning_rate", "batch_size", "seed"}. Prints JSON: {"steps_per_s": from the end of the first step to the end of the
last one, "whole_s": from loading the model to its saving}.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, disable_progress_bars
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.moments.append(time.perf_counter())


def main(folder: str, given: dict[str, Any]) -> dict[str, float]:
    """Tokenize with truncation, pad by batch, measure each epoch."""
    disable_progress_bars()
    start = time.perf_counter()
    labels = sorted({row["label"] for row in given["train"]})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(labels))

    def read(rows: list[dict[str, str]]) -> Any:
        encoded = tokenizer([row["text"] for row in rows], truncation=True, max_length=given["max_length"])
        return Dataset.from_dict({**encoded, "labels": [labels.index(row["label"]) for row in rows]})

    def accuracy(predicted: Any) -> dict[str, float]:
        return {"accuracy": float(np.mean(predicted.predictions.argmax(-1) == predicted.label_ids))}

    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            out, num_train_epochs=given["epochs"], per_device_train_batch_size=given["batch_size"],
            per_device_eval_batch_size=given["batch_size"], learning_rate=given["learning_rate"], seed=given["seed"],
            eval_strategy="epoch", save_steps=10_000, save_total_limit=2, report_to="none", disable_tqdm=True,
        )  # fmt: skip
        trainer = Trainer(
            model, arguments, train_dataset=read(given["train"]).shuffle(given["seed"]), callbacks=[clock],
            eval_dataset=read(given["eval"]), data_collator=DataCollatorWithPadding(tokenizer), compute_metrics=accuracy,
        )  # fmt: skip
        trainer.train()
        trainer.save_model()
    moments = clock.moments
    return {
        "steps_per_s": (len(moments) - 1) / (moments[-1] - moments[0]),
        "whole_s": time.perf_counter() - start,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))))
