"""The NLP worker: wires models, engines and handlers to the queues."""

from __future__ import annotations

from functools import partial

import structlog

from callboard_nlp.engines import Encoders, open_encoder
from callboard_nlp.handlers import NlpHandlers
from callboard_nlp.settings import NlpSettings
from callboard_shared.errors import JobError
from callboard_shared.jobs import EMBED, SIMILARITY
from callboard_shared.jobs.nlp import DEFAULT_ENCODER
from callboard_shared.models import Shelf
from callboard_shared.settings import ModelSettings
from callboard_shared.worker import Worker

log = structlog.get_logger(__name__)

settings = NlpSettings()
shelf = Shelf()
encoders = Encoders(
    shelf,
    partial(
        open_encoder,
        cache=ModelSettings().cache_path,
        engine=settings.nlp_engine,
        threads=settings.nlp_threads,
        exact=settings.nlp_precision == "float32",
    ),
    keep=settings.nlp_models_loaded,
)

worker = Worker("nlp", queues=settings.nlp_queues, slots=settings.nlp_concurrency)
worker.models = sorted(shelf.refs("embed"))
if "nlp" in settings.nlp_queues:
    handlers = NlpHandlers(encoders.get)
    worker.handles(EMBED)(handlers.embed)
    worker.handles(SIMILARITY)(handlers.similarity)


@worker.on_start
def load_the_default_model() -> None:
    """After the fork; so the first job finds it ready."""
    if DEFAULT_ENCODER not in worker.models:
        return
    try:
        _, encoder = encoders.get(DEFAULT_ENCODER)
        encoder.encode(["ready"], ["mean"])
    except JobError as error:
        log.error("model.not_loaded", model=DEFAULT_ENCODER, reason=error.detail)


app = worker.celery
