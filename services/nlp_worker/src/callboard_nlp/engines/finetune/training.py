"""Fine-tuning an encoder into a text classifier with Hugging Face's Trainer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_model, save_model
from transformers import (
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

from callboard_nlp.data.labelled import Rows
from callboard_nlp.engines.finetune.base import open_base
from callboard_nlp.engines.finetune.checkpoints import TrainingState
from callboard_nlp.engines.finetune.recipe import Recipe, Tuned
from callboard_nlp.engines.finetune.steering import Seen, Steering
from callboard_nlp.engines.metrics import measured
from callboard_nlp.engines.plots import confusion_plot, training_plot
from callboard_nlp.engines.telling import Telling
from callboard_shared.errors import FinalError

_TOKENIZED = 256
"""Texts between two looks whether the job is still wanted."""


def finetune(
    base: Path,
    base_name: str,
    train: Rows,
    evaluation: Rows,
    labels: Sequence[str],
    recipe: Recipe,
    made: Path,
    scratch: Path,
    telling: Telling,
    resume: Path | None = None,
) -> Tuned:
    """Train, and write the model into ``made``: weights, tokenizer, config with the labels' names, plots, report.

    ``scratch``: an empty folder; ``resume``: a folder that ``telling.save`` was given. A run that is resumed goes on
    with the same order of rows, optimizer and random numbers. Raises FinalError, also ``training-diverged`` and
    ``out-of-memory``, and what ``telling`` raises.
    """
    torch.set_num_threads(recipe.threads)
    set_seed(recipe.seed)
    model, tokenizer, window = open_base(base, base_name, labels)
    length = min(recipe.max_length, window)
    data = [_tokenized(tokenizer, rows, labels, length, telling.check) for rows in (train, evaluation)]
    best = scratch / "best.safetensors"
    state = TrainingState.restored(resume, best) if resume is not None else TrainingState()
    seen = Seen()
    trainer = _trainer(model, tokenizer, data, labels, recipe, length, scratch, seen)
    trainer.add_callback(Steering(seen, state, recipe, telling, lambda: save_model(model, str(best)), best))
    try:
        trainer.train(resume_from_checkpoint=str(resume) if resume is not None else None)
    except torch.OutOfMemoryError as error:
        raise FinalError(
            f"The GPU has too little memory for this training: {str(error)[:200]} Lower train_batch_size or "
            "max_length.",
            code="out-of-memory",
        ) from None
    if best.exists():
        load_model(model, best)
    tuned = Tuned(
        state.history, state.history[state.kept], state.matrix, trainer.state.global_step, state.tokens
    )
    _write(model, tokenizer, labels, tuned, made)
    report = {"base_model": base_name, "train_samples": len(train), "eval_samples": len(evaluation)}
    report |= {"recipe": asdict(recipe), "labels": list(labels), **asdict(tuned)}
    (made / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False))
    return tuned


def _write(model: Any, tokenizer: Any, labels: Sequence[str], tuned: Tuned, made: Path) -> None:
    model.save_pretrained(made)
    tokenizer.backend_tokenizer.no_truncation()  # of this training, not of the model
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(made)
    training_plot(tuned.history, made / "training.png")
    confusion_plot(labels, tuned.matrix, made / "confusion.png")


class _Tokenized:
    """Texts as the numbers of their tokens, one after the other in one array: 4 bytes a token."""

    def __init__(self, ids: npt.NDArray[np.int32], ends: list[int], labels: list[int]) -> None:
        self._ids, self._ends, self.labels = ids, ends, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        begin = self._ends[index - 1] if index else 0
        return {"input_ids": self._ids[begin : self._ends[index]].tolist(), "labels": self.labels[index]}


def _tokenized(
    tokenizer: Any, rows: Rows, labels: Sequence[str], length: int, check: Callable[[], None]
) -> _Tokenized:
    parts: list[npt.NDArray[np.int32]] = []
    for start in range(0, len(rows), _TOKENIZED):
        check()
        texts = rows.texts[start : start + _TOKENIZED]
        encoded = tokenizer(
            texts,
            truncation=True,
            max_length=length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        parts += [np.asarray(ids, np.int32) for ids in encoded["input_ids"]]
    numbers = {label: number for number, label in enumerate(labels)}
    ends = np.cumsum([len(part) for part in parts]).tolist()
    return _Tokenized(np.concatenate(parts), ends, [numbers[label] for label in rows.labels])


class _Trainer(Trainer):
    """Writes down the loss of each step, and how many tokens it read."""

    seen: Seen

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        self.seen.loss = super().training_step(model, inputs, num_items_in_batch)
        self.seen.tokens = inputs["attention_mask"].sum()
        return self.seen.loss


def _trainer(
    model: Any,
    tokenizer: Any,
    data: Sequence[_Tokenized],
    labels: Sequence[str],
    recipe: Recipe,
    length: int,
    scratch: Path,
    seen: Seen,
) -> _Trainer:
    gpu = torch.cuda.is_available()
    bf16 = torch.cuda.is_bf16_supported() if gpu else recipe.bf16_on_cpu and _cpu_has_bf16()
    arguments = TrainingArguments(
        output_dir=str(scratch / "checkpoints"), num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.train_batch_size, per_device_eval_batch_size=recipe.eval_batch_size,
        learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay, warmup_steps=recipe.warmup_steps,
        seed=recipe.seed, eval_strategy="epoch", logging_strategy="no", save_strategy="no", use_cpu=not gpu,
        bf16=bf16, fp16=gpu and not bf16, dataloader_pin_memory=gpu, remove_unused_columns=False, report_to="none",
        train_sampling_strategy="group_by_length" if recipe.by_length else "random", disable_tqdm=True,
        log_level="error",
    )  # fmt: skip
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # a batch is as large as was asked for, however many GPUs there are
    if recipe.padding == "dynamic":
        collator = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8 if gpu else None)
    else:
        collator = DataCollatorWithPadding(tokenizer, padding="max_length", max_length=length)

    def compute_metrics(predicted: Any) -> dict[str, float]:
        now = trainer.seen.measured = measured(predicted.label_ids, predicted.predictions, labels)
        return {"accuracy": now.accuracy, "f1": now.f1}

    trainer = _Trainer(
        model=model, args=arguments, data_collator=collator, train_dataset=data[0], eval_dataset=data[1],
        compute_metrics=compute_metrics, preprocess_logits_for_metrics=_chosen,
        compute_loss_func=_weighted_loss(data[0].labels, len(labels)) if recipe.class_weights else None,
    )  # fmt: skip
    trainer.seen = seen
    trainer.remove_callback(PrinterCallback)
    return trainer


def _cpu_has_bf16() -> bool:
    """Elsewhere it is emulated, and slower than float32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _chosen(logits: Any, labels: torch.Tensor) -> torch.Tensor:
    """The numbers of the predicted labels, so that no logits pile up."""
    best: torch.Tensor = (logits[0] if isinstance(logits, tuple) else logits).argmax(dim=-1)
    return best


def _weighted_loss(labels: Sequence[int], count: int) -> Callable[..., torch.Tensor]:
    """Cross entropy in which every label of the training rows weighs the same, however few rows it has."""
    rows = np.bincount(labels, minlength=count)
    weights = torch.tensor(len(labels) / (np.count_nonzero(rows) * np.maximum(rows, 1)), dtype=torch.float32)

    def loss(outputs: Any, truth: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        logits = outputs["logits"].float()
        return torch.nn.functional.cross_entropy(logits, truth, weights.to(logits.device))

    return loss
