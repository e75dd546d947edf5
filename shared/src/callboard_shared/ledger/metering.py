"""Counters for ``/metrics`` that lie with the jobs, in the ledger.

The scripts that submit, claim and end jobs write them at the end of their run (``lib.lua``), and what a worker counts
itself goes along with the step that ends its next job: no round trip is made for them. A field is ``what|label|…``
and, for a histogram, ``|bucket`` (from 1; what fell into that one alone) or ``|sum``.
"""

from __future__ import annotations

import threading
from asyncio import CancelledError
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import orjson

from callboard_shared.errors import CallboardError
from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call

LOAD_BOUNDS_MS = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000)
PROVIDER_BOUNDS_MS = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000)
BOUNDS: Mapping[str, tuple[int, ...]] = {
    **keys.METER_BOUNDS,
    "load": LOAD_BOUNDS_MS,  # ms to load a model
    "provider": PROVIDER_BOUNDS_MS,  # ms of a request to a provider
}
"""Upper bounds of each histogram's buckets, in the unit of its values."""


@dataclass(slots=True)
class Distribution:
    """A histogram's buckets, each with what fell into it alone (one more than bounds), and the sum of the values."""

    buckets: list[int]
    sum: int = 0


@dataclass(frozen=True, slots=True)
class Meters:
    """What one queue has counted since ever: what -> labels -> figure."""

    counters: dict[str, dict[tuple[str, ...], int]] = field(default_factory=dict)
    histograms: dict[str, dict[tuple[str, ...], Distribution]] = field(default_factory=dict)


def meters(queue: str) -> Call[Meters]:
    return Call(("HGETALL", keys.of(queue, "meters")), _meters)


def _meters(reply: Any) -> Meters:
    found = Meters()
    flat = [item for pair in reply.items() for item in pair] if isinstance(reply, dict) else reply
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        what, *labels = name.decode().split("|")
        if what not in BOUNDS:
            found.counters.setdefault(what, {})[tuple(labels)] = int(value)
            continue
        *labels, part = labels
        one = found.histograms.setdefault(what, {}).setdefault(
            tuple(labels), Distribution([0] * (len(BOUNDS[what]) + 1))
        )
        if part == "sum":
            one.sum = int(value)
        elif int(part) <= len(one.buckets):
            one.buckets[int(part) - 1] = int(value)
    return found


class Tally:
    """What a process counts until the next job ends. Safe between threads."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def observe(self, what: str, labels: tuple[str, ...], value: int) -> None:
        """``what``: a histogram of BOUNDS; labels come from the code, or a bounded set, never from users."""
        name = "|".join((what, *(label.replace("|", "_") for label in labels)))
        with self._lock:
            self._counts[f"{name}|{bisect_left(BOUNDS[what], value) + 1}"] += 1
            self._counts[f"{name}|sum"] += value

    @contextmanager
    def timing(self, what: str, *labels: str) -> Iterator[None]:
        """Observes how many ms the block takes, unless it raises."""
        began = monotonic()
        yield
        self.observe(what, labels, int((monotonic() - began) * 1000))

    @contextmanager
    def asking(self, provider: str) -> Iterator[None]:
        """Observes a request to a provider, and what came of it: ``ok``, ``canceled``, or the error's code."""
        began, outcome = monotonic(), "error"
        try:
            yield
            outcome = "ok"
        except CancelledError:
            outcome = "canceled"
            raise
        except CallboardError as error:
            outcome = error.problem_code
            raise
        finally:
            self.observe("provider", (provider, outcome), int((monotonic() - began) * 1000))

    def take(self) -> bytes:
        """All that was counted, as JSON for ``verbs.finish``, and begins anew; empty for nothing."""
        if not self._counts:
            return b""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return orjson.dumps(counts)


TALLY = Tally()
"""Of this process. A fork inherits what its parent counted, which is nothing: the parent of a pool runs no jobs."""
