"""The NLP worker: wires models, engines and handlers to the queues."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import structlog
from safetensors import SafetensorError

from callboard_nlp.engines import Classifier, Encoder, open_classifier, open_encoder
from callboard_nlp.engines.hub import fetched
from callboard_nlp.engines.interface import Writer
from callboard_nlp.engines.word2vec.vectors import open_word_vectors
from callboard_nlp.handlers.encode import EncodeHandlers
from callboard_nlp.handlers.evaluate import EvaluateHandlers
from callboard_nlp.handlers.finetune import FinetuneHandlers
from callboard_nlp.handlers.transformer import TransformerHandlers
from callboard_nlp.handlers.word2vec import Word2VecHandlers
from callboard_nlp.settings import NlpSettings
from callboard_shared.errors import CallboardError
from callboard_shared.files import Files, configured_store
from callboard_shared.jobs import (
    CATALOGUE,
    CLASSIFY,
    EMBED,
    EVALUATE,
    FINETUNE,
    SIMILARITY,
    TRANSFORMER_GENERATE,
    TRANSFORMER_TRAIN,
    WORD2VEC_QUERY,
    WORD2VEC_TRAIN,
)
from callboard_shared.jobs.nlp import DEFAULT_ENCODER
from callboard_shared.ledger import Ledger
from callboard_shared.models import Shelf
from callboard_shared.models.finder import ModelFinder
from callboard_shared.models.memory import LoadedModels
from callboard_shared.models.store import ModelStore
from callboard_shared.settings import ModelSettings
from callboard_shared.worker import Worker
from callboard_shared.worker.models import Models
from callboard_shared.worker.workshop import Workshop

log = structlog.get_logger(__name__)

settings, model_settings = NlpSettings(), ModelSettings()
shelf = Shelf()


@cache
def store() -> ModelStore:
    """Of this process: made after the fork, since connections do not survive one."""
    files = Files(configured_store())
    return ModelStore(Ledger(), files, model_settings.cache_path, model_settings.model_cache_bytes)


def _encoder(folder: Path) -> Encoder:
    return open_encoder(
        folder, model_settings.cache_path, engine=settings.nlp_engine, threads=settings.nlp_threads,
        exact=settings.nlp_precision == "float32",
    )  # fmt: skip


def _classifier(folder: Path) -> Classifier:
    return open_classifier(
        folder, model_settings.cache_path, engine=settings.nlp_engine, threads=settings.nlp_threads,
        exact=settings.nlp_precision == "float32",
    )  # fmt: skip


def _writer(folder: Path) -> Writer:
    from callboard_nlp.engines.transformer.generation import open_writer

    return open_writer(folder, settings.nlp_threads)


models = Models(
    ModelFinder(shelf, store),
    {"embed": _encoder, "classify": _classifier, "word2vec": open_word_vectors, "seq2seq": _writer},
    LoadedModels(model_settings.model_memory_bytes),
    fetched,
    (SafetensorError,),
)

worker = Worker("nlp", queues=settings.nlp_queues, slots=settings.nlp_concurrency)
_tasks = {
    task
    for job_type in CATALOGUE
    if job_type.queue in settings.nlp_queues
    for tasks in job_type.models.values()
    for task in tasks
}
worker.models = sorted({name for task in _tasks for name in shelf.refs(task)})
workshop = Workshop(store, settings.nlp_threads, model_settings.cache_path / "scratch")
word2vec = Word2VecHandlers(models, workshop)
transformer = TransformerHandlers(models, workshop)
if "nlp" in settings.nlp_queues:
    encode = EncodeHandlers(models)
    worker.handles(EMBED)(encode.embed)
    worker.handles(SIMILARITY)(encode.similarity)
    worker.handles(CLASSIFY)(encode.classify)
    worker.handles(WORD2VEC_QUERY)(word2vec.query)
    worker.handles(TRANSFORMER_GENERATE)(transformer.generate)
if "nlp-train" in settings.nlp_queues:
    worker.handles(WORD2VEC_TRAIN)(word2vec.train)
    worker.handles(FINETUNE)(FinetuneHandlers(models, workshop).finetune)
    worker.handles(EVALUATE)(EvaluateHandlers(models).evaluate)
    worker.handles(TRANSFORMER_TRAIN)(transformer.train)


@worker.on_start
def load_the_default_model() -> None:
    """After the fork; so the first job finds it ready."""
    if DEFAULT_ENCODER not in worker.models or "nlp" not in settings.nlp_queues:
        return
    try:
        models.warm(DEFAULT_ENCODER, "embed").encode(["ready"], ["mean"])
    except CallboardError as error:
        log.error("model.not_loaded", model=DEFAULT_ENCODER, reason=error.detail)


app = worker.celery
