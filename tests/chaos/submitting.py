"""Load: clients that submit at a steady rate until they are told to stop, each job until it is accepted."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from callboard_client import Callboard

Order = dict[str, Any]
ATTEMPTS = 20
"""A job may be hit by many faults; where they are many, only losing it would be wrong."""
ENDS = ["job.succeeded", "job.failed", "job.canceled", "job.expired"]


@dataclass(slots=True)
class Accepted:
    """ids of the 202s, in order of their answers; hooked: those that are to be told of; took_s: per submission, its
    repetitions included; errors: what a client gave up with."""

    ids: list[str] = field(default_factory=list)
    hooked: set[str] = field(default_factory=set)
    took_s: list[float] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def submit(self, callboard: Callboard, order: Order) -> str:
        began = time.monotonic()
        job = callboard.submit(**order)
        self.took_s.append(time.monotonic() - began)
        self.ids.append(job.id)
        if "webhook" in order:
            self.hooked.add(job.id)
        return job.id


class _Client(threading.Thread):
    def __init__(
        self,
        callboard: Callboard,
        orders: Iterator[Order],
        accepted: Accepted,
        every_s: float,
        stop: threading.Event,
    ) -> None:
        super().__init__(daemon=True)
        self._callboard, self._orders, self._accepted = callboard, orders, accepted
        self._every_s, self._stopping = every_s, stop

    def run(self) -> None:
        due = time.monotonic()
        for order in self._orders:
            try:
                self._accepted.submit(self._callboard, order)
            except BaseException as error:
                self._accepted.errors.append(error)
                return
            due = max(due + self._every_s, time.monotonic() - 1)
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return


class _Shared:
    """One iterator for many threads."""

    def __init__(self, orders: Iterator[Order]) -> None:
        self._orders, self._lock = orders, threading.Lock()

    def __iter__(self) -> _Shared:
        return self

    def __next__(self) -> Order:
        with self._lock:
            return next(self._orders)


@contextmanager
def load(
    callboard: Callboard, make: Callable[[int], Order], rate_per_s: float, *, least: int = 0, clients: int = 4
) -> Iterator[Accepted]:
    """Submit ``make(0)``, ``make(1)``, … so many a second for the length of the block, and at least so many in all."""
    accepted, stop = Accepted(), threading.Event()
    orders = _Shared(map(make, itertools.count()))
    threads = [_Client(callboard, orders, accepted, clients / rate_per_s, stop) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield accepted
        while len(accepted.ids) < least and any(thread.is_alive() for thread in threads):
            stop.wait(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join(90)
    assert not accepted.errors, accepted.errors[0]


def mixed(chance: random.Random, hook: str) -> Callable[[int], Order]:
    """Quick ones in batches, slow ones alone, and such as wait in a courier; every fifth tells of its end."""

    def make(number: int) -> Order:
        drawn = chance.random()
        if drawn < 0.4:
            order: Order = {"type": "nlp.embed", "input": {"texts": [f"text {number}"]}}
        elif drawn < 0.5:
            seconds = chance.uniform(0.05, 0.3)
            order = {"type": "nlp.classify", "input": {"texts": [f"sleep {seconds:.3f}"]}}
        else:
            order = {"type": "system.echo", "input": {"value": number, "sleep_ms": chance.randrange(300)}}
        told: dict[str, Any] = {"webhook": {"url": hook, "events": ENDS}} if number % 5 == 0 else {}
        return order | told | {"max_attempts": ATTEMPTS}

    return make


def errand(text: str, **options: Any) -> Order:
    """A job that runs alone in a process and does what the text says (``errands.py``)."""
    return {"type": "nlp.classify", "input": {"texts": [text]}, **options}
