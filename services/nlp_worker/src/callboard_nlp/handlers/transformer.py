"""Handlers of nlp.transformer.train and .generate."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from callboard_nlp.data import pairs
from callboard_nlp.data.rows import Source
from callboard_nlp.engines.interface import AfterPart, Writer, Written
from callboard_nlp.engines.transformer.recipe import Architecture, Recipe, Trained
from callboard_nlp.handlers.encode import Outputs, spans
from callboard_nlp.handlers.telling import telling
from callboard_shared.errors import FinalError
from callboard_shared.jobs.nlp import TransformerGenerateInput, TransformerTrainInput
from callboard_shared.models import TrainedModel
from callboard_shared.worker import Job
from callboard_shared.worker.models import Models
from callboard_shared.worker.workshop import TRAINED, Checkpoints, Workshop


class TransformerHandlers:
    def __init__(self, models: Models, workshop: Workshop) -> None:
        self._models, self._workshop = models, workshop

    def train(self, job: Job[TransformerTrainInput]) -> dict[str, Any]:
        # The checkpoints last: one that is on its way out of the folder is waited for first.
        with (
            ExitStack() as opened, self._workshop.folder(job) as scratch, self._workshop.checkpoints(job) as checkpoints
        ):  # fmt: skip
            return self._train(job, scratch, _source(job, opened), checkpoints)

    def _train(
        self, job: Job[TransformerTrainInput], scratch: Path, source: Source, checkpoints: Checkpoints
    ) -> dict[str, Any]:
        from callboard_nlp.engines.transformer.training import train

        value, context = job.input, job.context
        context.progress(0.0, "reading the pairs")
        pairs.survey(source, context.check_canceled)
        made, resume = scratch / "model", scratch / "resumed"
        made.mkdir()
        resumed = checkpoints.restored(resume)
        trained = train(
            lambda: pairs.pairs_of(source), _recipe(value, self._workshop.threads), made, scratch,
            telling(job, checkpoints), resume if resumed is not None else None,
        )  # fmt: skip
        context.usage["tokens"] = trained.tokens
        context.check_canceled()
        context.progress(TRAINED, "publishing the model")
        details = {name: getattr(trained, name) for name in ("parameters", "train_pairs", "eval_pairs")}
        details |= {"vocabulary_size": trained.vocabulary_size, "max_length": value.max_length}
        metrics = {name: figure for name, figure in trained.history[-1].items() if name != "epoch"}
        model = self._workshop.store().publish(
            made, owner=job.owner, job_id=job.id, name=value.name, kind="transformer", task="seq2seq",
            metrics=metrics, details={**details, "epochs": len(trained.history)},
        )  # fmt: skip
        return _output(model, trained, resumed)

    def generate(self, jobs: Sequence[Job[TransformerGenerateInput]]) -> Outputs:
        """A text that is too long fails its own job; the others' are written together."""
        value = jobs[0].input
        model = self._models.get(jobs, value.model, "seq2seq")
        writer: Writer = model.engine
        outputs: list[dict[str, Any] | FinalError | None] = [
            _refusal(writer, job.input.texts) for job in jobs
        ]
        places = [place for place, refused in enumerate(outputs) if refused is None]
        if places:
            taken = [jobs[place] for place in places]
            texts = [text for job in taken for text in job.input.texts]
            written = writer.write(texts, value.max_length, value.beams, _between_tokens(taken))
            for place, (start, end) in zip(places, spans([job.input.texts for job in taken]), strict=True):
                outputs[place] = _answers(jobs[place], written, start, end, model.name)
        return [output for output in outputs if output is not None]


def _source(job: Job[TransformerTrainInput], stack: ExitStack) -> Source:
    value = job.input
    if value.pairs is not None:
        return pairs.inline_source(value.pairs)
    assert value.file is not None
    return pairs.file_source(stack.enter_context(job.context.open_file(value.file)).content)


def _recipe(value: TransformerTrainInput, threads: int) -> Recipe:
    architecture = Architecture(
        value.d_model, value.nhead, value.num_encoder_layers, value.num_decoder_layers, value.dim_feedforward,
        value.dropout,
    )  # fmt: skip
    return Recipe(
        architecture, value.learning_rate, value.warmup_steps, value.learning_rate_decay, value.label_smoothing,
        value.epochs, value.batch_size, value.max_length, value.vocabulary_size, value.eval_share, value.seed, threads,
    )  # fmt: skip


def _output(model: TrainedModel, trained: Trained, resumed: int | None) -> dict[str, Any]:
    output = {
        "model": model.full_name,
        "history": trained.history,
        "vocabulary_size": trained.vocabulary_size,
        "parameters": trained.parameters,
        "train_pairs": trained.train_pairs,
        "eval_pairs": trained.eval_pairs,
        "skipped_pairs": trained.skipped_pairs,
        "steps": trained.steps,
        "files": {"training_plot": model.reference("training.png")},
    }
    return output if resumed is None else {**output, "resumed_from_step": resumed}


def _refusal(writer: Writer, texts: Sequence[str]) -> FinalError | None:
    try:
        writer.check(texts)
    except FinalError as error:
        return error
    return None


def _between_tokens(jobs: Sequence[Job[Any]]) -> AfterPart:
    """Stop when no job of the batch is wanted; show how far a job that runs alone is."""
    told = 0

    def after_token(done: int, texts: int) -> None:
        nonlocal told
        if all(job.context.canceled for job in jobs):
            jobs[0].context.check_canceled()
        if len(jobs) == 1 and told < done < texts:
            told = done
            jobs[0].context.progress(done / texts, f"{done} of {texts} texts", step=done, steps=texts)

    return after_token


def _answers(job: Job[Any], written: Written, start: int, end: int, model: str) -> dict[str, Any]:
    tokens = job.context.usage["tokens"] = sum(written.tokens[start:end])
    return {
        "texts": written.texts[start:end],
        "scores": written.scores[start:end],
        "tokens": tokens,
        "truncated": [place for place, cut in enumerate(written.truncated[start:end]) if cut],
        "model": model,
    }
