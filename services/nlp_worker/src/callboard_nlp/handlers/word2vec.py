"""Handlers of nlp.word2vec.train and .query, and nlp.similarity with such a model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from callboard_nlp.engines import word2vec
from callboard_nlp.engines.word_vectors import WordVectors
from callboard_nlp.handlers.artifacts import reference
from callboard_nlp.models import Models
from callboard_shared.jobs.nlp import SimilarityInput, Word2VecQueryInput, Word2VecTrainInput
from callboard_shared.models.store import ModelStore
from callboard_shared.worker import Job


class Word2VecHandlers:
    def __init__(self, models: Models, store: Callable[[], ModelStore], threads: int) -> None:
        self._models, self._store, self._threads = models, store, threads

    def train(self, job: Job[Word2VecTrainInput]) -> dict[str, Any]:
        value, context = job.input, job.context
        recipe = word2vec.Recipe(
            value.tokenizer, value.vector_size, value.window, value.min_count, value.sg, value.negative, value.sample,
            value.learning_rate, value.epochs, value.seed, threads=self._threads if value.seed is None else 1,
        )  # fmt: skip
        context.progress(0.0, "reading the corpus")

        def after_epoch(epoch: int, loss: float) -> None:
            context.check_canceled()
            message = f"epoch {epoch} of {value.epochs}"
            context.progress(epoch / value.epochs, message, step=epoch, steps=value.epochs, loss=loss)

        with tempfile.TemporaryDirectory(prefix="callboard-word2vec-") as made, ExitStack() as opened:
            corpus = _corpus(job, recipe, opened)
            trained = word2vec.train(corpus, recipe, Path(made), context.check_canceled, after_epoch)
            context.check_canceled()
            metrics = {
                "loss": trained.losses[-1],
                "vocabulary_size": trained.vocabulary_size,
                "tokens": trained.tokens,
            }
            model = self._store().publish(
                Path(made), owner=job.owner, job_id=job.id, name=value.name, kind="word2vec", task="word2vec",
                metrics=metrics, details={"vector_size": value.vector_size, "sg": value.sg},
            )  # fmt: skip
        context.usage["tokens"] = trained.tokens
        return {
            "model": model.full_name,
            "vocabulary_size": trained.vocabulary_size,
            "tokens": trained.tokens,
            "sentences": trained.sentences,
            "loss": trained.losses[-1],
            "history": [{"epoch": epoch, "loss": loss} for epoch, loss in enumerate(trained.losses, 1)],
            "file": reference(model, "vectors.bin"),
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


def _corpus(job: Job[Word2VecTrainInput], recipe: word2vec.Recipe, opened: ExitStack) -> Iterator[list[str]]:
    value = job.input
    if value.sentences is not None:
        return word2vec.from_lists(value.sentences)
    if value.texts is not None:
        return word2vec.from_texts(value.texts, recipe)
    assert value.file is not None
    return word2vec.from_file(opened.enter_context(job.context.open_file(value.file)).content, recipe)
