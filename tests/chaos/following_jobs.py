"""Follows accepted jobs to their ends while a run goes on, since they are forgotten soon after."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field

from evidence import histories
from findings import Findings, History, JobHistory, judge
from table import quantile
from yard import Yard


@dataclass(slots=True)
class Followed:
    """What became of the jobs so far. recent_ms: per job that ended lately, from submission to end."""

    jobs: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    found: Findings = field(default_factory=Findings)
    recent_ms: deque[tuple[float, float]] = field(default_factory=deque)

    def latencies(self, window_s: float = 10) -> dict[str, float]:
        """Milliseconds at the median and the 99th percentile, of the jobs that ended in the last seconds."""
        since = time.monotonic() - window_s
        while self.recent_ms and self.recent_ms[0][0] < since:
            self.recent_ms.popleft()
        recent = [ms for _, ms in self.recent_ms]
        return {"p50": quantile(recent, 0.5), "p99": quantile(recent, 0.99)} if recent else {}


class Follower(threading.Thread):
    """``ids`` grows while this runs: ids of the 202s. Each must be found ended before the ledger forgets it."""

    def __init__(self, yard: Yard, ids: list[str]) -> None:
        super().__init__(name="follower", daemon=True)
        self._yard, self._ids = yard, ids
        self._open: list[str] = []
        self._seen = 0
        self._stopping = threading.Event()
        self.followed = Followed()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stopping.wait(0.5):
                self.look()
        except BaseException as error:
            self.error = error

    def look(self) -> int:
        """Look at all that have not ended yet; gives how many are left."""
        upto = len(self._ids)
        self._open += self._ids[self._seen : upto]
        self._seen = upto
        told = histories(self._yard, self._open)
        done = [job for job in self._open if job not in told or told[job].ends]
        ended = {job: told[job] for job in done if job in told}
        found = judge(History(done, ended))
        self.followed.found.lost += found.lost
        self.followed.found.doubled += found.doubled
        self.followed.found.contradictory += found.contradictory
        for history in ended.values():
            self._count(history)
        closed = set(done)
        self._open = [job for job in self._open if job not in closed]
        return len(self._open)

    def _count(self, history: JobHistory) -> None:
        self.followed.jobs += 1
        self.followed.statuses[history.status] = self.followed.statuses.get(history.status, 0) + 1
        took_ms = history.ends[0].at_ms - history.changes[0].at_ms
        self.followed.recent_ms.append((time.monotonic(), took_ms))

    def finish(self, within_s: float) -> Followed:
        """Until all have ended, or the time is over: then the rest is lost."""
        self._stopping.set()
        self.join()
        if self.error is not None:
            raise self.error
        deadline = time.monotonic() + within_s
        while self.look() and time.monotonic() < deadline:
            time.sleep(0.25)
        self.followed.found.lost += self._open
        return self.followed
