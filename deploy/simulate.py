"""`make simulate`: how long jobs would wait, by arrivals, service times and workers. Standard library only.

    python deploy/simulate.py --rate 20 --mean 0.4 --p95 1.2 --workers 1-12 --target 2
    python deploy/simulate.py --rate 200 --mean 0.3 --together 32 --workers 1-4

Jobs come at random (Poisson) and are taken in turn by workers x slots; a slot takes up to ``--together`` waiting jobs
in one pass, which takes the time of the longest of them. Times are lognormal, by their mean and 95th percentile.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

JOBS = 40_000
WARM_UP = 0.1
"""Share of the jobs that is not counted: the system begins empty."""
Z95 = 1.6448536269514722
"""Of the standard normal distribution, the value that 95 % lie below."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``waits_s``: from arrival to start, in order of arrival; ``totals_s``: to the end; ``busy``: the slots' share."""

    waits_s: Sequence[float]
    totals_s: Sequence[float]
    busy: float


def simulate(
    arrivals_s: Sequence[float], services_s: Sequence[float], slots: int, together: int = 1
) -> Outcome:
    """First come, first served. ``arrivals_s`` ascend; job n takes ``services_s[n]`` by itself."""
    free = [0.0] * slots
    heapq.heapify(free)
    starts, ends = [0.0] * len(arrivals_s), [0.0] * len(arrivals_s)
    waiting: deque[int] = deque()
    coming, worked = 0, 0.0
    while coming < len(arrivals_s) or waiting:
        at = heapq.heappop(free)
        if not waiting:
            at = max(at, arrivals_s[coming])
        while coming < len(arrivals_s) and arrivals_s[coming] <= at:
            waiting.append(coming)
            coming += 1
        taken = [waiting.popleft() for _ in range(min(together, len(waiting)))]
        lasts = max(services_s[job] for job in taken)
        for job in taken:
            starts[job], ends[job] = at, at + lasts
        worked += lasts
        heapq.heappush(free, at + lasts)
    waits = [start - came for start, came in zip(starts, arrivals_s, strict=True)]
    totals = [end - came for end, came in zip(ends, arrivals_s, strict=True)]
    return Outcome(waits, totals, worked / (slots * max(ends)))


def poisson(chance: random.Random, rate_per_s: float, jobs: int) -> list[float]:
    """The moments at which jobs come."""
    at, moments = 0.0, []
    for _ in range(jobs):
        at += chance.expovariate(rate_per_s)
        moments.append(at)
    return moments


def lognormal(chance: random.Random, mean_s: float, p95_s: float | None, jobs: int) -> list[float]:
    """Times of this mean and 95th percentile; without one all alike. Raises ValueError where no lognormal has both."""
    if p95_s is None:
        return [mean_s] * jobs
    # mean = exp(mu + sigma^2 / 2), p95 = exp(mu + z sigma): the smaller root, whose tail is the shorter.
    root = Z95**2 - 2 * math.log(p95_s / mean_s)
    if root < 0 or p95_s <= mean_s:
        raise ValueError("the 95th percentile must be above the mean, and at most 3.8 times as much")
    sigma = Z95 - math.sqrt(root)
    mu = math.log(mean_s) - sigma**2 / 2
    return [chance.lognormvariate(mu, sigma) for _ in range(jobs)]


def quantile(values: Sequence[float], share: float) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def table(arguments: argparse.Namespace) -> list[str]:
    """A line a number of workers, and below it the fewest that keep the target."""
    low, _, high = arguments.workers.partition("-")
    lines = ["workers   busy   wait p50      p95      p99  total p50      p95      p99"]
    enough = None
    for workers in range(int(low), int(high or low) + 1):
        chance = random.Random(arguments.seed)
        arrivals = poisson(chance, arguments.rate, JOBS)
        services = lognormal(chance, arguments.mean, arguments.p95, JOBS)
        slots = workers * arguments.slots
        if arguments.rate * arguments.mean / (slots * arguments.together) >= 1:
            lines.append(f"{workers:7}   100%   never catches up")
            continue
        found = simulate(arrivals, services, slots, arguments.together)
        waits, totals = found.waits_s[int(WARM_UP * JOBS) :], found.totals_s[int(WARM_UP * JOBS) :]
        figures = "".join(
            f"{quantile(values, share):8.2f}s" for values in (waits, totals) for share in (0.5, 0.95, 0.99)
        )
        lines.append(f"{workers:7}  {found.busy:5.0%}  {figures}")
        if enough is None and quantile(waits, 0.95) <= arguments.target:
            enough = workers
    said = (
        f"the fewest whose p95 wait is at most {arguments.target:g} s: {enough}"
        if enough
        else "none of them keeps the target"
    )
    return [*lines, said]


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="How long jobs would wait.")
    parser.add_argument("--rate", type=float, default=20, help="jobs a second (20)")
    parser.add_argument("--mean", type=float, default=0.4, help="seconds a job takes (0.4)")
    parser.add_argument("--p95", type=float, help="seconds that 95 %% take at most; all alike without it")
    parser.add_argument("--slots", type=int, default=1, help="jobs at once in one worker (1)")
    parser.add_argument("--together", type=int, default=1, help="jobs that one pass takes (1)")
    parser.add_argument("--workers", default="1-16", help="how many, from-to (1-16)")
    parser.add_argument("--target", type=float, default=2, help="seconds of wait that 95 %% may have (2)")
    parser.add_argument("--seed", type=int, default=1)
    try:
        print("\n".join(table(parser.parse_args(given))))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
