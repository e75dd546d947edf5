"""Questions that span queues: which queue a job is in, and an owner's jobs in all of them, newest first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from callboard_shared.errors import LedgerError
from callboard_shared.ledger import verbs
from callboard_shared.ledger.client import AsyncLedger
from callboard_shared.ledger.records import JobRecord

_PAGE = 200
_MOST_PAGES = 50


async def find_job(ledger: AsyncLedger, queues: Sequence[str], job_id: str) -> JobRecord | None:
    """The job with this id, in one round trip."""
    for answer in await ledger.run_many([verbs.read(queue, [job_id]) for queue in queues]):
        if isinstance(answer, LedgerError):
            raise answer
        if answer[0] is not None:
            return answer[0]  # type: ignore[no-any-return]
    return None


async def read_jobs(ledger: AsyncLedger, rows: Sequence[tuple[str, str]]) -> list[JobRecord | None]:
    """Records of (queue, id), in order, in one round trip."""
    by_queue: dict[str, list[str]] = {}
    for queue, job_id in rows:
        by_queue.setdefault(queue, []).append(job_id)
    answers = await ledger.run_many([verbs.read(queue, ids) for queue, ids in by_queue.items()])
    found: dict[str, JobRecord] = {}
    for answer in answers:
        if isinstance(answer, LedgerError):
            raise answer
        found.update({record.id: record for record in answer if record})
    return [found.get(job_id) for _, job_id in rows]


async def list_jobs(
    ledger: AsyncLedger,
    queues: Sequence[str],
    owner: str,
    *,
    limit: int,
    before: tuple[int, str] | None = None,
    created_after_ms: int | None = None,
    created_before_ms: int | None = None,
    keep: Callable[[JobRecord], bool] = lambda record: True,
) -> tuple[list[JobRecord], tuple[int, str] | None]:
    """An owner's jobs, newest first, and where the next page begins (None at the end).

    ``before``: (created, id) of the last job seen. A filter that matches little is looked for in at most
    10,000 jobs a call; then the page may be short although ``next`` is given.
    """
    found: list[JobRecord] = []
    newest = created_before_ms
    for _ in range(_MOST_PAGES):
        if before is not None:
            newest = before[0] if newest is None else min(newest, before[0])
        rows, complete = await _newest(ledger, queues, owner, newest, created_after_ms, before)
        at, chunk = 0, limit  # inputs and outputs may be large: no more are read than it takes
        while at < len(rows):
            part = rows[at : at + chunk]
            records = await read_jobs(ledger, [(queue, job_id) for _, job_id, queue in part])
            for seen, ((created, job_id, _), record) in enumerate(zip(part, records, strict=True), at + 1):
                before = (created, job_id)
                if record is not None and keep(record):
                    found.append(record)
                    if len(found) == limit:
                        return found, None if complete and seen == len(rows) else before
            at, chunk = at + len(part), min(chunk * 2, _PAGE)
        if complete:
            return found, None
    return found, before


async def _newest(
    ledger: AsyncLedger,
    queues: Sequence[str],
    owner: str,
    newest: int | None,
    oldest: int | None,
    before: tuple[int, str] | None,
) -> tuple[list[tuple[int, str, str]], bool]:
    """The next (created, id, queue), newest first; and whether these are the last."""
    pages: list[list[tuple[int, str, str]]] = []
    complete = True
    first = await ledger.run_many([verbs.owned(queue, owner, newest, oldest, _PAGE) for queue in queues])
    for queue, answer in zip(queues, first, strict=True):
        if isinstance(answer, LedgerError):
            raise answer
        rows = answer
        page: list[tuple[int, str, str]] = []
        offset = 0
        while True:
            page += [
                (created, job, queue) for job, created in rows if before is None or (created, job) < before
            ]
            offset += len(rows)
            if len(rows) < _PAGE:
                break
            if len(page) >= _PAGE:
                complete = False
                break
            rows = await ledger.run(verbs.owned(queue, owner, newest, oldest, _PAGE, offset))
        pages.append(page)
    merged = list(heapq.merge(*pages, reverse=True))
    return merged[:_PAGE], complete and len(merged) <= _PAGE
