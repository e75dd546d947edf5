"""What a worker leaves of a job in logs and traces while it works on it.

The spans are those of the messaging conventions (https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/):
a ``process`` span, linked to where each job was sent. Of a single job it is a child of that as well, so that one trace
shows all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import structlog

from callboard_shared import tracing
from callboard_shared.ledger import ClaimedJob, Ended
from callboard_shared.tracing import Span

log = structlog.get_logger(__name__)
_DEBUG = logging.getLogger(__name__)


def about(job: ClaimedJob) -> dict[str, Any]:
    """The members of each log line about a job."""
    return {
        "job": job.id,
        "attempt": job.attempt,
        "key": job.owner,
        "trace": tracing.trace_id(tracing.traceparent_in(job.spec)),
    }


@contextmanager
def processing(queue: str, jobs: Sequence[ClaimedJob]) -> Iterator[Span | None]:
    """Within, what is logged says which job it is about (of several: which ones), and a span is under way."""
    if len(jobs) == 1:
        said = about(jobs[0])
    else:
        said = {"jobs": [job.id for job in jobs]}
    with structlog.contextvars.bound_contextvars(**said), _span(queue, jobs) as span:
        yield span


@contextmanager
def _span(queue: str, jobs: Sequence[ClaimedJob]) -> Iterator[Span | None]:
    if not tracing.active():
        yield None
        return
    links = [one for job in jobs if (one := tracing.traceparent_in(job.spec))]
    attributes: dict[str, str | int] = {
        "messaging.system": "callboard",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": queue,
        "callboard.job.type": jobs[0].type,
    }
    if len(jobs) == 1:
        attributes |= {"messaging.message.id": jobs[0].id, "callboard.job.attempt": jobs[0].attempt}
    else:
        attributes["messaging.batch.message_count"] = len(jobs)
    parent = links[0] if links and len(jobs) == 1 else None
    with tracing.span(
        f"process {queue}", "consumer", parent=parent, links=links, attributes=attributes
    ) as span:
        yield span


def log_end(job: ClaimedJob, end: Ended | None) -> None:
    """How an attempt went: failures as warnings; successes, of which there may be thousands a second, for DEBUG."""
    if end is None:
        log.warning("job.given_up", reason="another runner has it", **about(job))
    elif end.outcome in ("failed", "retry"):
        code = orjson.loads(end.error)["code"] if end.error else None
        log.warning(f"job.{end.outcome}", type=job.type, code=code, **about(job))
    elif _DEBUG.isEnabledFor(logging.DEBUG):
        log.debug(f"job.{end.outcome}", type=job.type, **about(job))


def tell_outcome(span: Span | None, ended: Sequence[Ended]) -> None:
    """A span of one job fails with it; of several it says how many failed."""
    failed = [end for end in ended if end.outcome in ("failed", "retry")]
    if span is None or not failed:
        return
    if len(ended) == 1:
        span.fail(str(orjson.loads(failed[0].error)["code"]))
    else:
        span.tell({"callboard.jobs.failed": len(failed)})
