"""Handlers of nlp.word2vec.train and .query, and nlp.similarity with such a model."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from callboard_nlp.engines.word2vec.corpus import Sentences, from_file, from_lists, from_texts
from callboard_nlp.engines.word2vec.epochs import Watcher
from callboard_nlp.engines.word2vec.training import Recipe, Trained, train
from callboard_nlp.engines.word2vec.vectors import WordVectors
from callboard_shared.jobs.nlp import SimilarityInput, Word2VecQueryInput, Word2VecTrainInput
from callboard_shared.worker import Context, Job
from callboard_shared.worker.models import Models
from callboard_shared.worker.workshop import Workshop


class Word2VecHandlers:
    def __init__(self, models: Models, workshop: Workshop) -> None:
        self._models, self._workshop = models, workshop

    def train(self, job: Job[Word2VecTrainInput]) -> dict[str, Any]:
        value, context = job.input, job.context
        recipe = Recipe(
            "lists" if value.sentences is not None else value.tokenizer, value.vector_size, value.window,
            value.min_count, value.sg, value.negative, value.sample, value.learning_rate, value.epochs, value.seed,
            threads=self._workshop.threads if value.seed is None else 1,
        )  # fmt: skip
        context.progress(0.0, "reading the corpus")
        with self._workshop.folder(job) as made, ExitStack() as opened:
            corpus = _corpus(job, opened)
            trained = train(corpus, recipe, made, _Teller(context, value.epochs))
            context.check_canceled()
            model = self._workshop.store().publish(
                made, owner=job.owner, job_id=job.id, name=value.name, kind="word2vec", task="word2vec",
                metrics=_metrics(trained), details=_details(value, trained),
            )  # fmt: skip
        context.usage["tokens"] = trained.tokens
        return {
            "model": model.full_name,
            "vocabulary_size": trained.vocabulary_size,
            "left_out": trained.left_out,
            "tokens": trained.tokens,
            "sentences": trained.sentences,
            "loss": trained.loss,
            "history": [{"epoch": epoch, "loss": loss} for epoch, loss in enumerate(trained.losses, 1)],
            "file": model.reference("vectors.bin"),
        }

    def query(self, job: Job[Word2VecQueryInput]) -> dict[str, Any]:
        value = job.input
        model = self._models.get([job], value.model, "word2vec")
        vectors: WordVectors = model.engine
        answer: dict[str, Any] = {"model": model.name}
        if value.vectors is not None:
            answer["vectors"] = vectors.vectors(value.vectors)
        elif value.similarity is not None:
            answer["similarity"] = vectors.similarity(value.similarity)
        elif value.most_similar is not None:
            asked = value.most_similar
            found = vectors.most_similar(asked.positive, asked.negative, asked.topn)
            answer["most_similar"] = [{"word": word, "score": score} for word, score in found]
        else:
            answer["doesnt_match"] = vectors.doesnt_match(value.doesnt_match or [])
        return answer


def compare(job: Job[SimilarityInput], words: WordVectors, model: str) -> dict[str, Any]:
    """nlp.similarity by the cosine of the texts' mean vectors."""
    value = job.input
    if value.pairs is not None:
        texts = [text for pair in value.pairs for text in pair]
    else:
        texts = [value.query or "", *(value.candidates or ())]
    vectors, tokens, unknown = words.text_vectors(texts)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    left, right = (vectors[0::2], vectors[1::2]) if value.pairs is not None else (vectors[:1], vectors[1:])
    scores = np.clip(np.sum(left * right, axis=1), -1.0, 1.0)
    job.context.usage["tokens"] = tokens
    output = {"scores": scores, "tokens": tokens, "unknown_words": unknown, "model": model}
    if value.pairs is None:
        output["ranking"] = np.argsort(-scores, kind="stable").tolist()
    return output


class _Teller(Watcher):
    """Tells the job's owner how the training goes."""

    def __init__(self, context: Context, epochs: int) -> None:
        self._context, self._epochs = context, epochs

    def check(self) -> None:
        self._context.check_canceled()

    def read(self, words: int) -> None:
        self._context.progress(0.0, f"reading the corpus: {words:,} words", words=words)

    def trained(self, epoch: int, words: int, of: int) -> None:
        message = f"epoch {epoch} of {self._epochs}: {words:,} of {of:,} words"
        done = (epoch - 1 + words / of) / self._epochs
        self._context.progress(
            done, message, step=epoch - 1, steps=self._epochs, words=words, words_of_epoch=of
        )

    def epoch_ended(self, epoch: int, loss: float | None) -> None:
        message = f"epoch {epoch} of {self._epochs}"
        done = epoch / self._epochs
        if loss is None:
            self._context.progress(done, f"{message}: no word to train on", step=epoch, steps=self._epochs)
        else:
            self._context.progress(
                done, f"{message}, loss {loss:.4g}", step=epoch, steps=self._epochs, loss=loss
            )

    def warn(self, message: str) -> None:
        self._context.log("warning", message)


def _metrics(trained: Trained) -> dict[str, float]:
    metrics: dict[str, float] = {"vocabulary_size": trained.vocabulary_size, "tokens": trained.tokens}
    return metrics if trained.loss is None else {"loss": trained.loss, **metrics}


def _details(value: Word2VecTrainInput, trained: Trained) -> dict[str, Any]:
    kept = (
        "vector_size",
        "window",
        "min_count",
        "sg",
        "negative",
        "sample",
        "learning_rate",
        "epochs",
        "seed",
    )
    details = {name: getattr(value, name) for name in kept}
    cut = "sentences as given" if value.sentences is not None else value.tokenizer
    return {**details, "tokenizer": cut, "sentences": trained.sentences, "left_out": trained.left_out}


def _corpus(job: Job[Word2VecTrainInput], opened: ExitStack) -> Sentences:
    value = job.input
    if value.sentences is not None:
        return from_lists(value.sentences)
    if value.texts is not None:
        return from_texts(value.texts, value.tokenizer)
    assert value.file is not None
    return from_file(opened.enter_context(job.context.open_file(value.file)).content, value.tokenizer)
