"""From what a handler gave or raised to how the attempt ended."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import orjson
import structlog
from pydantic import ValidationError

from callboard_shared.errors import CallboardError, FinalError, JobError
from callboard_shared.jobs.base import Input, JobType, Output
from callboard_shared.ledger import ClaimedJob, Ended
from callboard_shared.settings import FileSettings
from callboard_shared.telemetry import told, without_secrets
from callboard_shared.worker.job import ClaimLost, Context, JobCanceled
from callboard_shared.worker.tracks import about

log = structlog.get_logger(__name__)

_FIRST_DELAY_S, _LONGEST_DELAY_S = 1.0, 120.0
_LONGEST_DETAIL = 4_000
"""Characters; an exception may carry a whole tensor in its text."""


def read_input(job_type: JobType[Any, Any], claimed: ClaimedJob) -> Input:
    """The job's input; raises FinalError ``validation`` if this release no longer accepts it."""
    try:
        # Not strict: JSON has no tuples, and the gateway was strict already.
        value: Input = job_type.input.model_validate(orjson.loads(claimed.spec)["input"], strict=False)
        return value
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "input"
        raise FinalError(f"The input is not valid: {where}: {first['msg']}.", code="validation") from None


def succeeded(claimed: ClaimedJob, context: Context, output: Output | dict[str, Any]) -> Ended:
    """The end of an attempt that gave an output; large ones become a file."""
    plain = output.model_dump(exclude_none=True) if isinstance(output, Output) else output
    data = orjson.dumps(plain, option=orjson.OPT_SERIALIZE_NUMPY)
    if len(data) > _inline_bytes():
        record = context.put_file(f"{claimed.id}.json", data, "application/json")
        data = orjson.dumps(record.reference())
    return _ended(claimed, context, "succeeded", output=data)


@cache
def _inline_bytes() -> int:
    return FileSettings().inline_output_bytes


def failed(claimed: ClaimedJob, context: Context, error: BaseException) -> Ended | None:
    """The end of an attempt that raised; None when the claim is not ours any more."""
    if isinstance(error, ClaimLost):
        return None
    if isinstance(error, JobCanceled):
        return _ended(claimed, context, "canceled", output=_unfinished(context))
    if not isinstance(error, CallboardError):
        log.error("job.handler_error", type=claimed.type, **told(error), **about(claimed))
        error = FinalError(f"The handler failed: {type(error).__name__}: {error}", code="handler-error")
    body = problem_json(error)
    if not error.retryable:
        return _ended(claimed, context, "failed", error=body)
    delay_ms = int(1000 * (error.retry_after_s or back_off_s(claimed.attempt)))
    return _ended(claimed, context, "retry", error=body, delay_ms=delay_ms)


def _unfinished(context: Context) -> bytes:
    """What a canceled job keeps; nothing if it is too large to stand in the job (its events have it)."""
    data = orjson.dumps(context.unfinished, option=orjson.OPT_SERIALIZE_NUMPY) if context.unfinished else b""
    return data if len(data) <= _inline_bytes() else b""


def problem_json(error: CallboardError) -> bytes:
    """The problem for the job's owner: a detail that is valid UTF-8, of bounded length, and holds no secret."""
    problem = error.problem()
    detail = without_secrets(str(problem["detail"]).encode("utf-8", "replace").decode())
    problem["detail"] = detail if len(detail) <= _LONGEST_DETAIL else detail[:_LONGEST_DETAIL] + "…"
    return orjson.dumps(problem, default=str)


def back_off_s(attempt: int) -> float:
    """Seconds until the next attempt: doubling from one second, at most two minutes, ±25 %."""
    return min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** (attempt - 1)) * random.uniform(0.75, 1.25)


def timed_out(claimed: ClaimedJob) -> JobError:
    return FinalError(
        f"The job ran longer than its timeout_s of {claimed.timeout_ms / 1000:g} s. Submit it with a larger one.",
        code="timeout",
    )


def _ended(claimed: ClaimedJob, context: Context, outcome: Any, **fields: Any) -> Ended:
    usage = context.usage
    # Another attempt makes its own files: those of this one stay only if the job ends with it.
    tried_again = outcome == "retry" and claimed.attempt < claimed.max_attempts
    return Ended(
        claimed.id,
        claimed.attempt,
        outcome,
        usage=orjson.dumps(usage, option=orjson.OPT_SERIALIZE_NUMPY) if usage else b"{}",
        tokens=int(usage.get("tokens", 0)),
        characters=int(usage.get("characters", 0)),
        files=() if tried_again else tuple(record.id for record in context.created),
        reply=orjson.dumps(context.reply) if context.reply else b"",
        **fields,
    )
