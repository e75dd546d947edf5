"""A detector whose findings are known, and jobs that need no ledger."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from callboard_shared.errors import FinalError, JobError
from callboard_shared.files import FileRecord
from callboard_shared.jobs.base import FileInput
from callboard_shared.jobs.vision import DetectInput
from callboard_shared.worker import JobCanceled
from callboard_shared.worker.job import OpenedFile
from callboard_shared.worker.models import OpenModel
from callboard_vision.engines.interface import Findings, ModelFacts, Options, Pixels

NAMES = {0: "dark", 1: "light", 2: "Stop Sign", 3: "사람"}


def findings(
    boxes: Sequence[Sequence[float]], confidences: Sequence[float], ids: Sequence[int], **more: Any
) -> Findings:
    return Findings(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(confidences, np.float32),
        np.array(ids, np.int64),
        **more,
    )


def nothing() -> Findings:
    return findings([], [], [])


class Lamp:
    """Finds one thing in every picture that is not black: all of it, by its brightness."""

    engine = "lamp"

    def __init__(self, facts: ModelFacts | None = None) -> None:
        self.facts = facts or ModelFacts("detect", NAMES)
        self.calls: list[tuple[list[tuple[int, ...]], list[Options]]] = []
        self.before: Callable[[], None] = lambda: None

    def detect(self, pictures: Sequence[Pixels], options: Sequence[Options]) -> list[Findings]:
        self.before()
        self.calls.append(([picture.shape for picture in pictures], list(options)))
        return [self._one(picture, one) for picture, one in zip(pictures, options, strict=True)]

    def _one(self, picture: Pixels, options: Options) -> Findings:
        height, width = picture.shape[:2]
        number = int(picture.mean() > 127)
        if not picture.any() or (options.classes is not None and number not in options.classes):
            return nothing()
        return findings([[-3, 0, width + 1.23456, height]], [0.987654], [number])


@dataclass
class FakeContext:
    """Keeps what a handler says."""

    stop: JobError | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    told: list[tuple[float, str | None, int | None, int | None]] = field(default_factory=list)
    files: dict[str, tuple[bytes, str | None]] = field(default_factory=dict)
    readers: set[str] = field(default_factory=set)

    @property
    def canceled(self) -> bool:
        return self.stop is not None

    def check_canceled(self) -> None:
        if self.stop is not None:
            raise self.stop

    def progress(
        self,
        fraction: float,
        message: str | None = None,
        *,
        step: int | None = None,
        steps: int | None = None,
    ) -> None:
        self.told.append((fraction, message, step, steps))

    def open_file(self, given: FileInput) -> OpenedFile:
        self.readers.add(threading.current_thread().name)
        if given.base64 is None:
            raise FinalError("There is no such file.", code="file-not-found")
        return OpenedFile("file", io.BytesIO(base64.b64decode(given.base64)))

    def put_file(self, name: str, data: bytes, media_type: str | None = None) -> FileRecord:
        self.files[name] = (data, media_type)
        return FileRecord(f"file_{name}", "key", name, media_type or "", len(data), "0" * 64, "output", 0)

    def cancel(self) -> None:
        self.stop = JobCanceled("The job was canceled.")


@dataclass
class FakeJob:
    input: Any
    context: FakeContext = field(default_factory=FakeContext)


@dataclass
class Opened:
    """The models of a process: one, whatever it is called."""

    engine: Any

    def get(self, jobs: Sequence[Any], name: str, *tasks: Any) -> OpenModel:
        return OpenModel(name, tasks[0], self.engine)


def encoded(brightness: int = 255, size: tuple[int, int] = (8, 6), suffix: str = ".png") -> dict[str, str]:
    """A picture of one colour as an input gives it; size: width, height."""
    data = cv2.imencode(suffix, np.full((size[1], size[0], 3), brightness, np.uint8))[1].tobytes()
    return {"base64": base64.b64encode(data).decode()}


def job(*pictures: dict[str, str], **options: Any) -> FakeJob:
    """With one picture as ``image``, with several as ``images``."""
    given: dict[str, Any] = {"image": pictures[0]} if len(pictures) == 1 else {"images": list(pictures)}
    return FakeJob(DetectInput.model_validate({**given, **options}))
