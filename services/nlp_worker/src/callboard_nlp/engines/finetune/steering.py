"""The callback that stands between Trainer and the job: progress, checkpoints, early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from callboard_nlp.engines.finetune.checkpoints import TrainingState
from callboard_nlp.engines.finetune.recipe import Recipe
from callboard_nlp.engines.metrics import Measured
from callboard_nlp.engines.rhythm import Rhythm
from callboard_nlp.engines.telling import Step, Telling
from callboard_shared.errors import FinalError


class Seen:
    """Of the last step its loss and the tokens it read; of the last evaluation what was measured."""

    loss: torch.Tensor
    tokens: torch.Tensor
    measured: Measured


class Steering(TrainerCallback):
    """Tells of steps and epochs, keeps the best weights, and says when to save and when to stop."""

    def __init__(
        self,
        seen: Seen,
        state: TrainingState,
        recipe: Recipe,
        telling: Telling,
        keep_weights: Callable[[], None],
        best: Path,
    ) -> None:
        self._seen, self._state, self._recipe, self._telling = seen, state, recipe, telling
        self._keep_weights, self._best = keep_weights, best
        self._rhythm = Rhythm()
        self._learning_rate = 0.0
        self._step: Step

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._telling.check()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._telling.check()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._learning_rate = float(kwargs["lr_scheduler"].get_last_lr()[0])

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        loss = float(self._seen.loss)
        if not math.isfinite(loss):
            raise FinalError(
                f"The training diverged: the loss of step {state.global_step} is not a number. Lower learning_rate "
                f"(now {self._recipe.learning_rate:g}), or give warmup_steps.",
                code="training-diverged",
            )
        self._state.loss_sum += loss
        self._state.loss_count += 1
        self._state.tokens += int(self._seen.tokens)
        steps_in_epoch = state.max_steps // self._recipe.epochs
        epoch = (state.global_step - 1) // steps_in_epoch + 1
        self._step = Step(state.global_step, state.max_steps, epoch, loss, self._learning_rate)
        self._telling.on_step(self._step)
        # At an epoch's last step its evaluation is still to come: a checkpoint here would leave it out.
        if state.global_step % steps_in_epoch:
            self._save_if(control, state.global_step % self._recipe.save_steps == 0 or self._rhythm.due())

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        metrics: dict[str, float] = kwargs["metrics"]
        mine = self._state
        entry = {
            "epoch": round(state.epoch), "loss": mine.loss_sum / max(1, mine.loss_count),
            "eval_loss": metrics["eval_loss"], "accuracy": metrics["eval_accuracy"], "f1": metrics["eval_f1"],
        }  # fmt: skip
        mine.loss_sum, mine.loss_count = 0.0, 0
        mine.history.append(entry)
        self._telling.on_epoch(self._step, entry)
        patience, latest = self._recipe.early_stopping_patience, len(mine.history) - 1
        if patience is None or entry["eval_loss"] < mine.history[mine.kept]["eval_loss"] or latest == 0:
            mine.kept, mine.matrix = latest, self._seen.measured.matrix
            if patience is not None:
                self._keep_weights()
        elif latest - mine.kept >= patience:
            control.should_training_stop = True
        if state.global_step < state.max_steps and not control.should_training_stop:
            wanted = state.global_step % self._recipe.save_steps == 0
            self._save_if(control, wanted or self._rhythm.due(after_epoch=True))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = Path(args.output_dir, f"checkpoint-{state.global_step}")
        self._state.save(folder, self._best)
        self._telling.save(folder, state.global_step)
        self._rhythm.saved()

    def _save_if(self, control: Any, wanted: bool) -> None:
        if wanted:
            control.should_save = True
            self._rhythm.saving()
