"""The handler of vision.detect: the pictures of all jobs of a batch go through the network together, in parts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from callboard_shared.errors import CallboardError, FinalError, RequestError
from callboard_shared.jobs.base import PictureInput
from callboard_shared.jobs.vision import DETECTING, DetectInput, Looking
from callboard_shared.pictures import PictureSettings, about
from callboard_shared.worker import Context, Job
from callboard_shared.worker.models import Models
from callboard_vision.describing import seen_in
from callboard_vision.drawing import annotated, marks_of
from callboard_vision.engines.interface import Detector, Findings, ModelFacts, Options
from callboard_vision.handlers.reading import Pace, Parts
from callboard_vision.labels import class_ids
from callboard_vision.pictures import Picture, read_picture

_JPEG_QUALITY = 90
_LEAST_THREADS = 4
"""Reading waits for the store more than it computes."""
_LABELS_DRAWN = 3
"""Of a classifying model."""

Outputs = Sequence[dict[str, Any] | CallboardError]


@dataclass(slots=True)
class _Asked:
    """A job of the batch, and what has come of it: by picture what was seen, or the error that ends the job."""

    job: Job[DetectInput]
    options: Options = field(default_factory=Options)
    error: CallboardError | None = None
    seen: list[dict[str, Any]] = field(default_factory=list)

    @property
    def pictures(self) -> list[PictureInput]:
        value = self.job.input
        return value.images if value.images is not None else [value.image] if value.image is not None else []

    @property
    def is_wanted(self) -> bool:
        return self.error is None and not self.job.context.canceled


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A picture of a job: ``place`` in its list."""

    asked: _Asked
    place: int


class DetectHandlers:
    """Jobs of one call agree in model, image_size and half: their type's ``batch.by`` sees to it."""

    def __init__(
        self, models: Models, pictures: PictureSettings, *, threads: int, font: Path | None = None
    ) -> None:
        self._models, self._settings, self._font = models, pictures, font
        self._threads = max(_LEAST_THREADS, threads)
        self._pace = Pace()

    def detect(self, jobs: Sequence[Job[DetectInput]]) -> Outputs:
        model = self._models.get(jobs, jobs[0].input.model, *DETECTING)
        detector: Detector = model.engine
        batch = [_asked(job, detector.facts) for job in jobs]
        wanted = [_Wanted(one, place) for one in batch for place in range(len(one.pictures)) if one.is_wanted]
        kind = (model.name, jobs[0].input.image_size)
        with (
            ThreadPoolExecutor(self._threads, "pictures") as pool,
            Parts(
                wanted, self._read, lambda one: one.asked.is_wanted, pool, self._threads,
                lambda: self._pace.part(kind),
            ) as parts,
        ):  # fmt: skip
            drawn: list[Future[None]] = []
            for part in parts:
                for future in drawn:  # of the part before: no more pictures are held than of two parts
                    future.result()
                began = time.monotonic()
                drawn = self._look(detector, part, pool)
                self._pace.took(kind, len(part), time.monotonic() - began)
                _tell(batch)
            for future in drawn:
                future.result()
        return [_output(one, model.name, detector.facts, len(batch)) for one in batch]

    def _read(self, wanted: _Wanted) -> Picture:
        """Raises CallboardError, which ends the picture's job."""
        asked, place = wanted.asked, wanted.place
        with asked.job.context.open_file(asked.pictures[place]) as opened:
            try:
                return read_picture(opened.content, self._settings)
            except RequestError as error:
                several = asked.job.input.images is not None
                where = about(error, f"input.images.{place}" if several else "input.image")
                told = f"Picture {place + 1}: {error.detail}" if several else error.detail
                raise FinalError(told, code=error.problem_code, errors=where.errors) from None

    def _look(
        self,
        detector: Detector,
        part: Sequence[tuple[_Wanted, Picture | CallboardError]],
        pool: ThreadPoolExecutor,
    ) -> list[Future[None]]:
        """One part through the network; what is still being drawn afterwards."""
        for wanted, found in part:
            if not isinstance(found, Picture):
                wanted.asked.error = wanted.asked.error or found
        good = [
            (wanted.asked, one) for wanted, one in part if isinstance(one, Picture) and wanted.asked.is_wanted
        ]
        if not good:
            return []
        results = detector.detect([one.pixels for _, one in good], [asked.options for asked, _ in good])
        drawn = []
        for (asked, picture), findings in zip(good, results, strict=True):
            seen = seen_in(findings, detector.facts, picture.width, picture.height)
            if picture.warnings:
                seen["warnings"] = list(picture.warnings)
            asked.seen.append(seen)
            if asked.job.input.annotate:
                place = len(asked.seen)
                drawn.append(
                    pool.submit(self._draw, asked.job.context, place, picture, findings, seen, detector.facts)
                )
        return drawn

    def _draw(
        self, context: Context, number: int, picture: Picture, findings: Findings, seen: dict[str, Any],
        facts: ModelFacts,
    ) -> None:  # fmt: skip
        likeliest = seen.get("classification", ())[:_LABELS_DRAWN]
        lines = [f"{one['label']} {one['confidence']:.2f}" for one in likeliest]
        canvas = annotated(picture.pixels, marks_of(findings, facts), facts.skeleton, lines, self._font)
        suffix, media_type, parameters = (
            (".png", "image/png", [])
            if picture.transparent  # drawings and logos, which JPEG would smear
            else (".jpg", "image/jpeg", [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        )
        data = cv2.imencode(suffix, canvas, parameters)[1].tobytes()
        seen["annotated"] = context.put_file(f"annotated-{number}{suffix}", data, media_type).reference()


def options_of(value: Looking, facts: ModelFacts) -> Options:
    """How an engine is to look. Raises FinalError ``unknown-class``."""
    return Options(
        value.confidence, value.iou, class_ids(facts.names, value.classes), value.max_detections, value.image_size,
        value.half,
    )  # fmt: skip


def _asked(job: Job[DetectInput], facts: ModelFacts) -> _Asked:
    try:
        return _Asked(job, options_of(job.input, facts))
    except FinalError as error:
        return _Asked(job, error=error)


def _tell(batch: Sequence[_Asked]) -> None:
    """Between parts: how far the jobs are that have more pictures to come; stop when no job is wanted."""
    if all(one.job.context.canceled for one in batch):
        batch[0].job.context.check_canceled()
    for one in batch:
        done, of = len(one.seen), len(one.pictures)
        if one.is_wanted and 0 < done < of:
            one.job.context.progress(done / of, f"{done} of {of} pictures", step=done, steps=of)


def _output(one: _Asked, model: str, facts: ModelFacts, together: int) -> dict[str, Any] | CallboardError:
    if one.error is not None:
        return one.error
    try:
        one.job.context.check_canceled()
    except CallboardError as error:
        return error
    one.job.context.usage.update(images=len(one.seen), batch_jobs=together)
    told = {"model": model, "task": facts.task}
    return {"images": one.seen, **told} if one.job.input.images is not None else {**one.seen[0], **told}
