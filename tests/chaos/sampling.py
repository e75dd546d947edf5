"""What a running stack uses, sampled: memory and file handles of its members, keys and memory of its ledger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import psutil
from yard import Yard

MB = 1024 * 1024


@dataclass(slots=True)
class Series:
    """Samples by name, all taken at ``at_s`` (seconds since the first); NaN where there was nothing to sample."""

    at_s: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, at_s: float, sample: Mapping[str, float]) -> None:
        for name in self.values.keys() | sample.keys():
            row = self.values.setdefault(name, [float("nan")] * len(self.at_s))
            row.append(sample.get(name, float("nan")))
        self.at_s.append(at_s)

    def of(self, name: str, from_s: float) -> tuple[list[float], list[float]]:
        """Times and values of one name from a moment on, without what is missing."""
        pairs = [
            (at, v) for at, v in zip(self.at_s, self.values[name], strict=True) if at >= from_s and v == v
        ]
        return [at for at, _ in pairs], [value for _, value in pairs]


def footprint(yard: Yard, members: Sequence[str]) -> dict[str, float]:
    """Per member ``memory NAME`` (MB, proportional set size of its tree) and ``handles NAME``; ``keys`` and ``ledger``
    (MB) of the ledger."""
    sample: dict[str, float] = {}
    for name in members:
        tree = _tree(yard.pid(name))
        sample[f"memory {name}"] = sum(_of(p, lambda p: p.memory_full_info().pss) for p in tree) / MB
        sample[f"handles {name}"] = sum(_of(p, lambda p: p.num_fds()) for p in tree)
    sample["keys"] = yard.redis.dbsize()
    sample["ledger"] = int(yard.redis.info("memory")["used_memory"]) / MB
    return sample


def _tree(pid: int | None) -> list[psutil.Process]:
    try:
        leader = psutil.Process(pid) if pid else None
        return [leader, *leader.children(recursive=True)] if leader else []
    except psutil.NoSuchProcess:
        return []


def _of(process: psutil.Process, figure: Callable[[psutil.Process], int]) -> int:
    try:
        return figure(process)
    except psutil.Error:  # it ended just now
        return 0


class Sampler(threading.Thread):
    """Samples every ``every_s`` seconds until it is stopped."""

    def __init__(self, sample: Callable[[], Mapping[str, float]], every_s: float) -> None:
        super().__init__(name="sampler", daemon=True)
        self._sample, self._every_s = sample, every_s
        self._done = threading.Event()
        self.series, self.error = Series(), None

    def run(self) -> None:
        began = time.monotonic()
        try:
            while not self._done.wait(self._every_s):
                at_s = time.monotonic() - began
                self.series.add(at_s, self._sample())
        except BaseException as error:
            self.error: BaseException | None = error

    def stop(self) -> Series:
        self._done.set()
        self.join()
        if self.error is not None:
            raise self.error
        return self.series
