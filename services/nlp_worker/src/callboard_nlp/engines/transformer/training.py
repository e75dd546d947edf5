"""Training a Transformer on text pairs: teacher forcing, cross entropy, Adam (Vaswani et al. 2017, §5)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from callboard_nlp.engines.plots import training_plot
from callboard_nlp.engines.rhythm import Rhythm
from callboard_nlp.engines.telling import Step, Telling
from callboard_nlp.engines.transformer import checkpoint, stored
from callboard_nlp.engines.transformer.batches import Batch, Pairs, epoch, in_order, split
from callboard_nlp.engines.transformer.checkpoint import Progress
from callboard_nlp.engines.transformer.model import Transformer
from callboard_nlp.engines.transformer.recipe import Recipe, Trained
from callboard_nlp.engines.transformer.threads import threads_for
from callboard_nlp.engines.transformer.tokenizer import PAD, PairTokenizer
from callboard_shared.errors import FinalError

_BETAS, _EPSILON = (0.9, 0.98), 1e-9
"""Adam's, as in the paper."""
_LARGEST_GRADIENT = 1.0
"""Norm to which gradients are clipped."""
_BYTES_A_PARAMETER = 16
"""Weight, gradient and Adam's two moments, in float32."""
_LEAST_TO_TRAIN_ON = 2

ReadPairs = Callable[[], Iterable[tuple[str, str]]]


def train(
    texts: ReadPairs, recipe: Recipe, made: Path, scratch: Path, telling: Telling, resume: Path | None = None
) -> Trained:
    """Learn a tokenizer and train, and write the model into ``made``: weights, tokenizer, config, plot, report.

    ``texts`` is read more than once. ``scratch``: a folder for what is written meanwhile; ``resume``: a folder that
    ``telling.save`` was given. A resumed run ends with the same weights as an unbroken one on the same machine's CPU.
    Raises FinalError ``pairs-too-long``, ``training-diverged`` or ``out-of-memory``, and what ``telling`` raises.
    """
    torch.manual_seed(recipe.seed)
    if resume is None:
        tokenizer = PairTokenizer.learned(_sides(texts(), telling.check), recipe.vocabulary_size)
    else:
        tokenizer = checkpoint.tokenizer_of(resume)
    pairs = Pairs.encoded(tokenizer, texts(), recipe.max_length, telling.check)
    if len(pairs) < _LEAST_TO_TRAIN_ON:
        raise _too_long(pairs, recipe.max_length)
    with _memory_told(), threads_for(recipe.architecture.parameters(tokenizer.size), recipe.threads):
        run = _Run(tokenizer, pairs, recipe, scratch, telling)
        if resume is not None:
            run.at = checkpoint.restore(resume, run.model, run.optimizer)
        run.train()
    return run.write(made)


class _Run:
    """One training, from where ``at`` stands to its end."""

    def __init__(
        self, tokenizer: PairTokenizer, pairs: Pairs, recipe: Recipe, scratch: Path, telling: Telling
    ) -> None:
        self._tokenizer, self._pairs, self._recipe = tokenizer, pairs, recipe
        self._scratch, self._telling, self._rhythm = scratch, telling, Rhythm()
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._train_rows, self._eval_rows = split(len(pairs), recipe.eval_share, recipe.seed)
        self.model = _fitting(recipe, tokenizer.size, self._device)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=recipe.learning_rate, betas=_BETAS, eps=_EPSILON, fused=True
        )
        self._steps_in_epoch = -(-len(self._train_rows) // recipe.batch_size)
        self._steps = recipe.epochs * self._steps_in_epoch
        self.at = Progress()

    def train(self) -> None:
        while self.at.epoch < self._recipe.epochs:
            self._epoch()

    def write(self, made: Path) -> Trained:
        stored.write(made, self.model, self._tokenizer, self._recipe.max_length)
        training_plot(self.at.history, made / "training.png", title="Transformer")
        vocabulary = self._tokenizer.size
        parameters = self._recipe.architecture.parameters(vocabulary)
        trained = Trained(
            self.at.history, vocabulary, parameters, len(self._train_rows), len(self._eval_rows), self._pairs.skipped,
            self.at.step, self.at.tokens,
        )  # fmt: skip
        report = {"recipe": asdict(self._recipe), **asdict(trained)}
        (made / "report.json").write_text(json.dumps(report, indent=1))
        return trained

    def _epoch(self) -> None:
        at, recipe = self.at, self._recipe
        batches = epoch(self._pairs, self._train_rows, recipe.batch_size, (recipe.seed, at.epoch))
        self.model.train()
        for rows in batches[at.batch :]:
            self._telling.check()
            step = self._step(self._pairs.batch(rows))
            at.batch += 1
            self._telling.on_step(step)
            # At an epoch's last step its evaluation is still to come: a checkpoint here would leave it out.
            if at.batch < len(batches) and self._rhythm.due():
                self._save()
        entry: dict[str, Any] = {"epoch": at.epoch + 1, "loss": at.nll / at.wanted, **self._measured()}
        at.history.append(entry)
        at.epoch, at.batch, at.nll, at.wanted = at.epoch + 1, 0, 0.0, 0
        self._telling.on_epoch(step, entry)
        if at.epoch < recipe.epochs and self._rhythm.due(after_epoch=True):
            self._save()

    def _step(self, batch: Batch) -> Step:
        at = self.at
        at.step += 1
        rate = learning_rate(self._recipe, at.step, self._steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        with _half(self._device):
            likely, wanted = self._log_likelihoods(batch.to(self._device))
        nll, loss = losses(likely, wanted, self._recipe.label_smoothing)
        value = nll.item()
        if not math.isfinite(value):
            raise FinalError(
                f"The training diverged: the loss of step {at.step} is not a number. Lower learning_rate (now "
                f"{self._recipe.learning_rate:g}), or give warmup_steps.",
                code="training-diverged",
            )
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _LARGEST_GRADIENT)
        self.optimizer.step()
        at.nll, at.wanted = at.nll + value * len(wanted), at.wanted + len(wanted)
        at.tokens += len(wanted) + int((batch.source != PAD).sum())
        return Step(at.step, self._steps, at.epoch + 1, value, rate)

    def _log_likelihoods(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(n, v) and (n,): of the n tokens of the targets, padding left out, by token of the vocabulary; the tokens."""
        states = self.model(batch.source, batch.target)
        there = batch.wanted != PAD
        return functional.log_softmax(self.model.logits(states[there]).float(), dim=-1), batch.wanted[there]

    @torch.no_grad()
    def _measured(self) -> dict[str, float]:
        """eval_loss and accuracy a token, the target so far given; nothing if no pair is measured on."""
        if not len(self._eval_rows):
            return {}
        self.model.eval()
        nll = right = count = 0.0
        for rows in in_order(self._pairs.by_length(self._eval_rows), self._recipe.batch_size):
            self._telling.check()
            with _half(self._device):
                likely, wanted = self._log_likelihoods(self._pairs.batch(rows).to(self._device))
            nll -= float(likely.gather(1, wanted.unsqueeze(1)).sum())
            right += float((likely.argmax(-1) == wanted).sum())
            count += len(wanted)
        return {"eval_loss": nll / count, "accuracy": right / count}

    def _save(self) -> None:
        self._rhythm.saving()
        folder = self._scratch / f"checkpoint-{self.at.step}"
        folder.mkdir()
        checkpoint.save(folder, self.model, self.optimizer, self._tokenizer, self.at)
        self._telling.save(folder, self.at.step)
        self._rhythm.saved()


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Of ``step``, from 1: it rises through the warm-up, and then stays, or falls evenly towards 0."""
    warm = recipe.warmup_steps
    if step <= warm:
        return recipe.learning_rate * step / warm
    return recipe.learning_rate * ((steps - step + 1) / (steps - warm) if recipe.decay == "linear" else 1.0)


def losses(likely: Tensor, wanted: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """(mean negative log-likelihood of the tokens wanted; what is trained on): the first, with a share of
    ``smoothing`` wanting every token alike (Szegedy et al. 2016)."""
    nll = -likely.gather(1, wanted.unsqueeze(1)).mean()
    return nll, (1 - smoothing) * nll - smoothing * likely.mean() if smoothing else nll


def _half(device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 where a GPU has it; float16 would need its losses scaled."""
    able = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=able)


def _fitting(recipe: Recipe, vocabulary_size: int, device: torch.device) -> Transformer:
    """The model on its device, if there is memory to train it at all."""
    parameters = recipe.architecture.parameters(vocabulary_size)
    needed, there = parameters * _BYTES_A_PARAMETER, _memory(device)
    if needed > there:
        raise _out_of_memory(
            f"a model of {parameters:,} parameters takes {needed / 1e9:.1f} GB to train, and there are "
            f"{there / 1e9:.1f} GB",
            device,
        )
    return Transformer(recipe.architecture, vocabulary_size).to(device)


def _memory(device: torch.device) -> int:
    """Bytes in all."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextmanager
def _memory_told() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(str(error)[:200], torch.device("cuda")) from None
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise _out_of_memory("it could not be had", torch.device("cpu")) from None


def _out_of_memory(what: str, device: torch.device) -> FinalError:
    where = "The GPU" if device.type == "cuda" else "This worker"
    return FinalError(
        f"{where} has too little memory for this training: {what}. Lower batch_size, max_length, d_model or the "
        "number of layers.",
        code="out-of-memory",
    )


def _sides(texts: Iterable[tuple[str, str]], check: Callable[[], None]) -> Iterator[str]:
    for number, pair in enumerate(texts):
        if number % 1024 == 0:
            check()
        yield from pair


def _too_long(pairs: Pairs, longest: int) -> FinalError:
    return FinalError(
        f"Of {len(pairs) + pairs.skipped} pairs {pairs.skipped} have a side of more than {longest} tokens and are left "
        f"out, so there are too few to train on; the shortest of them has {pairs.shortest} tokens. Raise max_length, "
        "or cut the texts into sentences.",
        code="pairs-too-long",
    )
