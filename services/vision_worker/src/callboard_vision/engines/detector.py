"""A network behind the Detector interface: letterboxes, goes through it in parts, decodes.

Pictures go together that have the same size as the network sees them, so that what is found in one does not depend on
which others came with it. The next part is letterboxed while the network works on one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

import numpy as np
import structlog

from callboard_shared.errors import FinalError
from callboard_vision.engines.decoding import decoded
from callboard_vision.engines.description import Description, NotLoadable
from callboard_vision.engines.interface import Findings, Floats, ModelFacts, Options, Pixels
from callboard_vision.engines.placement import Placement, centre_crop, letterbox, placed

log = structlog.get_logger(__name__)


_USUAL_SIDE = 640
CPU_PART = 4 * 640 * 640
"""Pixels that go through a network together on a CPU: more are no faster, and take more memory."""


class NotEnoughMemory(Exception):
    """A part is too large for the device."""


def failed(pictures: Pixels, error: Exception) -> FinalError:
    """What an engine raises where the network cannot take pictures of this size."""
    height, width = pictures.shape[1:3]
    return FinalError(
        f"The model failed on a picture that it sees as {width} x {height} pixels: {error}. Another image_size may do.",
        code="model-failed",
    )


class Network(Protocol):
    """Only the forward pass."""

    @property
    def engine(self) -> str:
        """What computes, for people."""

    @property
    def batch(self) -> int | None:
        """How many pictures it takes, no more and no less; None for any number."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of its input if it takes no other."""

    @property
    def part_pixels(self) -> int:
        """So many pixels together, or a single picture, are a part."""

    def __call__(self, pictures: Pixels, *, half: bool, least: float) -> list[list[Floats]]:
        """``pictures``: uint8 (n, height, width, 3), blue green red. Of each the outputs, without the batch's
        dimension; what is no surer than ``least`` may be left out. Raises NotEnoughMemory, or FinalError
        ``model-failed``."""


class NetworkDetector:
    def __init__(self, network: Network, description: Description) -> None:
        """Raises NotLoadable if the network puts out something else than its description says."""
        self._network, self._layout = network, description.layout
        fixed = network.size or description.facts.fixed_size
        self._trained_size = description.trained_size
        if self._layout.task == "classify-image":
            fixed = fixed or self._trained_size or (224, 224)
        self.facts: ModelFacts = replace(description.facts, fixed_size=fixed)
        self._most = network.batch
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="letterbox")
        self._try_out()

    @property
    def engine(self) -> str:
        return self._network.engine

    def detect(self, pictures: Sequence[Pixels], options: Sequence[Options]) -> list[Findings]:
        if not pictures:
            return []
        places = [placed(picture.shape[:2], options[0].image_size, self.facts) for picture in pictures]
        found: dict[int, Findings] = {}
        for part, batch in self._prepared(pictures, places):
            least = min(options[index].confidence for index in part)
            outputs = self._run(batch, options[0].half, least)[: len(part)]
            for index, output in zip(part, outputs, strict=True):
                found[index] = decoded(output, places[index], options[index], self._layout)
        return [found[index] for index in range(len(pictures))]

    def _prepared(
        self, pictures: Sequence[Pixels], places: Sequence[Placement]
    ) -> Iterator[tuple[list[int], Pixels]]:
        ahead: tuple[list[int], Future[Pixels]] | None = None
        parts = list(self._parts(places))
        if len(parts) == 1:
            yield parts[0], self._batch(pictures, places, parts[0])
            return
        for part in parts:
            behind, ahead = ahead, (part, self._beside.submit(self._batch, pictures, places, part))
            if behind is not None:
                yield behind[0], behind[1].result()
        if ahead is not None:
            yield ahead[0], ahead[1].result()

    def _parts(self, places: Sequence[Placement]) -> Iterator[list[int]]:
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, place in enumerate(places):
            by_size.setdefault(place.size, []).append(index)
        for (height, width), indices in by_size.items():
            most = self._network.batch or max(1, self._network.part_pixels // (height * width))
            for start in range(0, len(indices), most):
                yield indices[start : start + most]

    def _batch(self, pictures: Sequence[Pixels], places: Sequence[Placement], part: Sequence[int]) -> Pixels:
        height, width = places[part[0]].size
        batch = np.empty((self._network.batch or len(part), height, width, 3), np.uint8)
        for row, index in enumerate(part):
            if self._layout.task == "classify-image":
                batch[row] = centre_crop(pictures[index], (height, width))
            else:
                letterbox(pictures[index], places[index], batch[row])
        batch[len(part) :] = 0
        return batch

    def _run(self, batch: Pixels, half: bool, least: float) -> list[list[Floats]]:
        """A part that is too large goes as two; so do those after it."""
        if self._most is not None and self._network.batch is None and len(batch) > self._most:
            middle = self._most
        else:
            try:
                return self._network(batch, half=half, least=least)
            except NotEnoughMemory as error:
                if len(batch) == 1 or self._network.batch is not None:
                    raise FinalError(
                        "The device has too little memory for one picture of this size. Give a smaller image_size, or "
                        "run fewer processes on it.",
                        code="out-of-memory",
                    ) from error
                self._most = middle = len(batch) // 2
                log.warning("engine.out_of_memory", engine=self.engine, pictures=len(batch), now=middle)
        return self._run(batch[:middle], half, least) + self._run(batch[middle:], half, least)

    def _try_out(self) -> None:
        side = self.facts.fixed_size or self._trained_size or (_USUAL_SIDE, _USUAL_SIDE)
        outputs = self._network(
            np.zeros((self._network.batch or 1, *side, 3), np.uint8), half=False, least=1.0
        )[0]
        wanted = 2 if self._layout.task == "segment" else 1
        if len(outputs) < wanted or not self._layout.fits(outputs[0].shape):
            shapes = ", ".join(str(output.shape) for output in outputs)
            raise NotLoadable(
                f"The model puts out {shapes} for a picture, which is not what a model for {self._layout.task} of "
                f"{self._layout.classes} classes does. Is its metadata right?"
            )
