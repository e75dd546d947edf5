"""The vision worker: wires models, engines and handlers to the queues."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import structlog
from billiard import current_process

from callboard_shared.errors import CallboardError
from callboard_shared.files import Files, configured_store
from callboard_shared.jobs import CATALOGUE, DETECT, TRACK, TRAIN
from callboard_shared.jobs.vision import DEFAULT_DETECTOR, DETECTING
from callboard_shared.ledger import Ledger
from callboard_shared.models import Shelf
from callboard_shared.models.finder import ModelFinder
from callboard_shared.models.memory import LoadedModels
from callboard_shared.models.store import ModelStore
from callboard_shared.pictures import PictureSettings
from callboard_shared.settings import FileSettings, ModelSettings
from callboard_shared.worker import Worker
from callboard_shared.worker.models import Models
from callboard_shared.worker.workshop import Workshop
from callboard_vision.engines import fetched, open_detector
from callboard_vision.engines.interface import Detector
from callboard_vision.handlers.detect import DetectHandlers
from callboard_vision.handlers.track import TrackHandlers
from callboard_vision.handlers.train import TrainHandlers
from callboard_vision.settings import VisionSettings

log = structlog.get_logger(__name__)

settings, model_settings = VisionSettings(), ModelSettings()
shelf = Shelf()


@cache
def store() -> ModelStore:
    """Of this process: made after the fork, since connections do not survive one."""
    files = Files(configured_store())
    return ModelStore(Ledger(), files, model_settings.cache_path, model_settings.model_cache_bytes)


def _detector(folder: Path) -> Detector:
    return open_detector(
        folder,
        engine=settings.vision_engine,
        threads=settings.vision_threads,
        cache=model_settings.cache_path,
        exact=settings.vision_precision == "float32",
        slot=getattr(current_process(), "index", 0),
    )


models = Models(
    ModelFinder(shelf, store),
    dict.fromkeys(DETECTING, _detector),
    LoadedModels(model_settings.model_memory_bytes),
    fetched,
)

worker = Worker("vision", queues=settings.vision_queues, slots=settings.vision_concurrency)
_tasks = {
    task
    for job_type in CATALOGUE
    if job_type.queue in settings.vision_queues
    for tasks in job_type.models.values()
    for task in tasks
}
worker.models = sorted({name for task in _tasks for name in shelf.refs(task)})
workshop = Workshop(store, settings.vision_threads, model_settings.cache_path / "scratch")
if "vision" in settings.vision_queues:
    worker.handles(DETECT)(
        DetectHandlers(
            models, PictureSettings(), threads=settings.vision_threads, font=settings.vision_font
        ).detect
    )
    worker.handles(TRACK)(
        TrackHandlers(
            models, workshop, cache=model_settings.cache_path, max_pixels=settings.vision_video_max_pixels,
            inline_bytes=FileSettings().inline_output_bytes, font=settings.vision_font,
        ).track
    )  # fmt: skip
if "vision-train" in settings.vision_queues:
    worker.handles(TRAIN)(TrainHandlers(models, workshop, PictureSettings(), model_settings.cache_path).train)


@worker.on_start
def load_the_default_model() -> None:
    """After the fork; so the first job finds it ready."""
    if DEFAULT_DETECTOR not in worker.models or "vision" not in settings.vision_queues:
        return
    try:
        models.warm(DEFAULT_DETECTOR, "detect")
    except CallboardError as error:
        log.error("model.not_loaded", model=DEFAULT_DETECTOR, reason=error.detail)


app = worker.celery
