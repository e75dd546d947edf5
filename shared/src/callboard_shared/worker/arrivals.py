"""The jobs of a batch in the order in which what they name by URL arrives: a slow server holds up its own job alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any

from callboard_shared.jobs.base import FileInput
from callboard_shared.pictures import PictureSettings
from callboard_shared.worker.job import Job

TOGETHER_S = 0.2
"""How long those that are here wait for more to join them."""
_AT_ONCE = 64

Arrived = list[tuple[int, BaseException | None]]
"""Places of jobs, each with the reason where something of it will not come."""


def arriving(jobs: Sequence[Job[Any]], distant: Sequence[Sequence[FileInput]]) -> Iterator[Arrived]:
    """The places of ``jobs`` in groups, each once, as soon as what ``distant`` lists of them is in their contexts.

    Fetches it meanwhile, many at a time. A single job is given at once: its handler fetches while it computes.
    """
    if len(jobs) < 2 or not any(distant):
        yield [(place, None) for place in range(len(jobs))]
        return
    pool = ThreadPoolExecutor(min(_AT_ONCE, sum(map(len, distant))), "arrivals")
    try:
        waiting = {
            place: [pool.submit(_bring, job, given) for given in wanted]
            for place, (job, wanted) in enumerate(zip(jobs, distant, strict=True))
        }
        while waiting:
            arrived = _await_some(waiting)
            for place, _ in arrived:
                del waiting[place]
            yield arrived
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _await_some(waiting: dict[int, list[Future[None]]]) -> Arrived:
    """At least one; all, if the others come at once."""
    wait((one for wanted in waiting.values() for one in wanted), timeout=TOGETHER_S)
    while not (arrived := [(place, _fault(wanted)) for place, wanted in waiting.items() if _is_here(wanted)]):
        wait(
            (one for wanted in waiting.values() for one in wanted if not one.done()),
            return_when=FIRST_COMPLETED,
        )
    return arrived


def _is_here(wanted: Sequence[Future[None]]) -> bool:
    """Whether there is nothing more to wait for: a job that lacks one of its files ends without the others."""
    return all(one.done() for one in wanted) or _fault(wanted) is not None


def _fault(wanted: Sequence[Future[None]]) -> BaseException | None:
    return next((error for one in wanted if one.done() and (error := one.exception()) is not None), None)


def _bring(job: Job[Any], given: FileInput) -> None:
    job.context.check_canceled()  # it may have waited for its turn
    job.context.bring(given, _most_bytes() if given.kind == "picture" else None)


@cache
def _most_bytes() -> int:
    return PictureSettings().picture_max_bytes
