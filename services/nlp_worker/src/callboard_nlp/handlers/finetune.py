"""The handler of nlp.finetune."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from callboard_nlp.data import labelled, splits
from callboard_nlp.data.given import sources
from callboard_nlp.data.labelled import Rows
from callboard_nlp.engines.finetune.recipe import Recipe, Tuned
from callboard_nlp.handlers.telling import telling
from callboard_shared.errors import FinalError
from callboard_shared.jobs.nlp import FinetuneInput
from callboard_shared.models import TrainedModel
from callboard_shared.worker import Job
from callboard_shared.worker.models import Models
from callboard_shared.worker.workshop import TRAINED, Checkpoints, Workshop


class FinetuneHandlers:
    def __init__(self, models: Models, workshop: Workshop) -> None:
        self._models, self._workshop = models, workshop

    def finetune(self, job: Job[FinetuneInput]) -> dict[str, Any]:
        # The checkpoints last: one that is on its way out of the folder is waited for first.
        with (
            self._workshop.folder(job) as scratch,
            self._workshop.checkpoints(job, job.input.save_total_limit) as kept,
        ):
            return self._finetune(job, scratch, kept)

    def _finetune(self, job: Job[FinetuneInput], scratch: Path, checkpoints: Checkpoints) -> dict[str, Any]:
        from callboard_nlp.engines.finetune.training import finetune

        value, context = job.input, job.context
        base_name, base = self._models.folder(job, value.base_model, "embed", "classify")
        context.progress(0.0, "reading the data")
        train, evaluation, labels = _data(job, base)
        context.check_canceled()
        made, resume = scratch / "model", scratch / "resumed"
        made.mkdir()
        resumed = checkpoints.restored(resume)
        tuned = finetune(
            base, base_name, train, evaluation, labels, _recipe(value, self._workshop.threads), made, scratch,
            telling(job, checkpoints), resume if resumed is not None else None,
        )  # fmt: skip
        context.usage["tokens"] = tuned.tokens
        context.check_canceled()
        context.progress(TRAINED, "publishing the model")
        details = {"base_model": base_name, "labels": labels, "train_samples": len(train)}
        details |= {"eval_samples": len(evaluation), "epochs": len(tuned.history)}
        model = self._workshop.store().publish(
            made, owner=job.owner, job_id=job.id, name=value.name, kind="classifier", task="classify",
            metrics={name: tuned.kept[name] for name in ("accuracy", "f1", "eval_loss")}, details=details,
        )  # fmt: skip
        return _output(model, base_name, labels, tuned, (len(train), len(evaluation)), resumed)


def _output(
    model: TrainedModel,
    base: str,
    labels: list[str],
    tuned: Tuned,
    rows: tuple[int, int],
    resumed: int | None,
) -> dict[str, Any]:
    output = {
        "model": model.full_name,
        "base_model": base,
        "history": tuned.history,
        "accuracy": tuned.kept["accuracy"],
        "f1": tuned.kept["f1"],
        "confusion": {"labels": labels, "matrix": tuned.matrix},
        "train_samples": rows[0],
        "eval_samples": rows[1],
        "steps": tuned.steps,
        "files": {
            "training_plot": model.reference("training.png"),
            "confusion_plot": model.reference("confusion.png"),
        },
    }
    return output if resumed is None else {**output, "resumed_from_step": resumed}


def _data(job: Job[FinetuneInput], base: Path) -> tuple[Rows, Rows, list[str]]:
    """Rows to train on, rows to measure on, and the labels in the model's order."""
    value, check = job.input, job.context.check_canceled
    with ExitStack() as stack:
        source, own_test = sources(value.dataset, "dataset", job.context, stack)
        found = labelled.survey(source, check)
        labelled.check_trainable(source, found, value.max_labels)
        measure = own_test
        if value.eval_dataset is not None:
            given, test = sources(value.eval_dataset, "eval_dataset", job.context, stack)
            measure = test or given
        if measure is None:
            parts = splits.split(source, found, value.train_samples, value.eval_samples, value.seed)
        else:
            measure = replace(measure, names=measure.names or source.names)
            found_there = labelled.survey(measure, check)
            labelled.check_known(measure, found_there.labels, list(found.labels), "trained on")
            parts = (
                splits.sample(source, found, value.train_samples, value.seed),
                splits.sample(measure, found_there, value.eval_samples, value.seed),
            )
    if len(set(parts[0].labels)) == 1:
        raise FinalError(
            f"All {len(parts[0])} rows taken to train on have the label {parts[0].labels[0]!r}. Raise train_samples.",
            code="one-label",
        )
    labels = labelled.ordered(found.labels, source.names)
    before = _labels_of(base)
    return *parts, before if set(before) == set(labels) else labels


def _labels_of(folder: Path) -> list[str]:
    """The labels of a classifier, in its order; none of an encoder."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        if not any("SequenceClassification" in name for name in config.get("architectures") or ()):
            return []
        names = {int(index): str(label) for index, label in (config.get("id2label") or {}).items()}
    except (OSError, ValueError):
        return []  # opening it says what is wrong with it
    return [names[index] for index in sorted(names)]


def _recipe(value: FinetuneInput, threads: int) -> Recipe:
    return Recipe(
        value.epochs, value.train_batch_size, value.eval_batch_size, value.learning_rate, value.weight_decay,
        value.warmup_steps, value.max_length, value.padding, value.seed, value.save_steps,
        value.early_stopping_patience, value.class_weights, threads,
    )  # fmt: skip
