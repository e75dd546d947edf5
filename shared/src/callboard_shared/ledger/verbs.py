"""The verbs of the ledger. Each returns a ``Call``, atomic on the Redis side, for a client to run.

A job is submitted, claimed, renewed, reported on and finished; besides that it is canceled, settled, read,
watched and deleted, and the sweep keeps time. A claim carries an attempt number, and what a runner writes
with an old one changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from callboard_shared.errors import RequestError
from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call, lua
from callboard_shared.ledger.following import events_of
from callboard_shared.ledger.records import (
    Claim,
    ClaimedJob,
    Ended,
    Event,
    FinishReply,
    JobRecord,
    NewJob,
    QueueStats,
    SubmitReply,
    Submitted,
    Swept,
    UsageRow,
    WorkerInfo,
)
from callboard_shared.ledger.saying import refusal, said
from callboard_shared.states import JobStatus


def _verb(name: str, queue: str, args: Sequence[Any], parse: Any) -> Call[Any]:
    return lua(name, [keys.base(queue)], args, parse)


def _text(reply: bytes) -> str:
    return reply.decode()


def _optional(value: int | None) -> int | str:
    return "" if value is None else value


# --- the way in ---------------------------------------------------------------------------------------------


def submit(
    queue: str, jobs: Sequence[NewJob], max_waiting: int = 0, *, max_turns: int = 0, max_bytes: int = 0
) -> Call[SubmitReply]:
    """Accept jobs of one queue. ``max_waiting``: how many jobs an owner may have waiting; ``max_turns`` and
    ``max_bytes``: what one conversation may hold (0: no limit).

    Submitting an id a second time changes nothing and answers with the job's state: a submit may be repeated.
    """
    args: list[Any] = [max_waiting, max_turns, max_bytes]
    for job in jobs:
        args += (
            job.id, job.owner, job.type, job.priority, _optional(job.run_at_ms), _optional(job.expires_in_ms),
            job.timeout_ms, job.max_attempts, job.retention_ms, job.batch_key or job.type, job.weight, job.hook,
            job.watcher, " ".join(job.after), job.spec, said(job.says) if job.says else "",
            job.pipeline, f"{job.group} {job.label}" if job.group else "",
        )  # fmt: skip

    def parse(reply: Any) -> SubmitReply:
        ring, workers, paused, *rows = reply
        results: list[Submitted | RequestError] = []
        for job, (_, status, created, position, eta, existed) in zip(jobs, rows, strict=True):
            refused = refusal(status.decode(), created, eta)
            if refused is not None:
                results.append(refused)
                continue
            state = JobStatus(status.decode())
            results.append(
                Submitted(job.id, state, int(created), position, eta, workers, existed == 1, paused == 1)
            )
        return SubmitReply(results, ring == 1)

    return lua("submit", [keys.base(queue)], args, parse, promises=True)


# --- the way of a worker --------------------------------------------------------------------------------------


def claim(
    queue: str,
    runner: str,
    *,
    limits: Mapping[str, tuple[int, int]],
    max_jobs: int,
    lease_ms: int,
    answered: bool = False,
    listen_ms: int = 0,
) -> Call[Claim]:
    """Take a batch of ready jobs that may run together.

    ``limits``: job type -> (jobs, weight; 0 for no limit) of one batch. ``answered``: this claim answers a bell.
    ``listen_ms``: if nothing is ready, stay known as a listener for so long; 0 leaves.
    """
    args: list[Any] = [runner, lease_ms, int(answered), listen_ms, max_jobs]
    for name, (jobs, weight) in limits.items():
        args += (name, jobs, weight)

    def parse(reply: Any) -> Claim:
        ready, ring, *rows = reply
        claimed = [
            ClaimedJob(
                id=row[0].decode(), type=row[1].decode(), attempt=int(row[2]), max_attempts=int(row[3]),
                timeout_ms=int(row[4]), created_ms=int(row[5]), batch_key=row[6].decode(), spec=row[7],
                owner=row[8].decode(),
            )
            for row in rows
        ]  # fmt: skip
        return Claim(claimed, ready, ring == 1)

    return _verb("claim", queue, args, parse)


def renew(queue: str, runner: str, jobs: Sequence[tuple[str, int]], lease_ms: int) -> Call[list[str]]:
    """Hold claims for another lease. Per (id, attempt): ``held``, ``canceling`` or ``lost``."""
    args: list[Any] = [runner, lease_ms]
    for job_id, attempt in jobs:
        args += (job_id, attempt)
    return _verb("renew", queue, args, lambda reply: [_text(state) for state in reply])


def report(
    queue: str,
    runner: str,
    job_id: str,
    attempt: int,
    events: Sequence[tuple[str, bytes]],
    progress: bytes = b"",
) -> Call[str]:
    """Append events (kind, JSON) of a running job, and keep its latest progress. As ``renew`` says of one job."""
    args: list[Any] = [runner, job_id, attempt, progress]
    for kind, data in events:
        args += (kind, data)
    return _verb("report", queue, args, _text)


def finish(
    queue: str, runner: str, ended: Sequence[Ended], busy_ms: float = 0, tally: bytes = b""
) -> Call[FinishReply]:
    """End attempts: output, event, usage, outbox and settlements in one step. ``busy_ms``: the batch's run;
    ``tally``: what the runner counted since its last one, as ``metering.Tally`` gives it."""
    args: list[Any] = [runner, busy_ms, tally]
    for end in ended:
        args += (
            end.id, end.attempt, end.outcome, end.output, end.error, end.usage, end.tokens, end.characters,
            " ".join(end.files), end.delay_ms, end.reply,
        )  # fmt: skip
    return _verb("finish", queue, args, lambda r: FinishReply([_text(state) for state in r[1]], r[0] == 1))


def held(queue: str, runner: str) -> Call[list[tuple[str, int]]]:
    """(id, attempt) of the jobs that this runner holds, as the ledger sees it."""
    return _verb("held", queue, [runner], lambda reply: [(_text(row[0]), int(row[1])) for row in reply])


def ping() -> Call[bool]:
    """Whether the ledger is there; changes nothing."""
    return Call(("PING",), bool)


def lost(queue: str, runner: str) -> Call[tuple[bool, int]]:
    """A runner's process is dead: what it held is ready again. Gives (ring, how many)."""
    return _verb("lost", queue, [runner], lambda reply: (reply[0] == 1, reply[1]))


# --- what clients ask -----------------------------------------------------------------------------------------


def cancel(job_id: str, queue: str) -> Call[str]:
    """``ended`` (it waited), ``canceling`` (it runs), ``already-ended`` or ``missing``."""
    return _verb("cancel", queue, [job_id], _text)


def delete(job_id: str, queue: str) -> Call[tuple[str, list[str]]]:
    """Forget an ended job: (``deleted`` | ``unfinished`` | ``held`` | ``missing``, ids of the files that go with it,
    or of the batch that holds it)."""
    return _verb(
        "delete", queue, [job_id], lambda r: (_text(r[0]), _text(r[1]).split() if len(r) > 1 else [])
    )


def read(queue: str, job_ids: Sequence[str]) -> Call[list[JobRecord | None]]:
    """The records of jobs of one queue, in order; None for what is not there, or has a status of a newer Callboard."""

    def parse(reply: Any) -> list[JobRecord | None]:
        workers, paused, *rows = reply
        return [
            _record(job_id, queue, row, workers, paused == 1) if row else None
            for job_id, row in zip(job_ids, rows, strict=True)
        ]

    return _verb("read", queue, list(job_ids), parse)


def _record(job_id: str, queue: str, row: Any, workers: int, paused: bool) -> JobRecord | None:
    flat, spec, output, position, eta, waits = row
    raw = {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}

    def number(name: str) -> int | None:
        return int(raw[name]) if name in raw else None

    status = JobStatus.known(raw["status"])
    if status is None:
        return None
    return JobRecord(
        id=job_id, type=raw["type"].decode(), queue=queue, owner=raw["owner"].decode(), status=status,
        created_ms=int(raw["created"]), spec=spec, priority=int(raw["priority"]), attempt=int(raw["attempt"]),
        max_attempts=int(raw["max_attempts"]), timeout_ms=int(raw["timeout"]), retention_ms=int(raw["retention"]),
        scheduled_ms=number("due"), started_ms=number("started"), claimed_ms=number("claimed"),
        finished_ms=number("finished"), expires_ms=number("expires"),
        worker=raw["worker"].decode() if "worker" in raw else None, output=output, error=raw.get("error"),
        progress=raw.get("progress"), usage=raw.get("usage"), files=tuple(raw.get("files", b"").decode().split()),
        waits=tuple(sorted(map(_text, waits))), position=position, eta_ms=eta, workers=workers, paused=paused,
    )  # fmt: skip


def exists(job_id: str, queue: str) -> Call[bool]:
    """Whether the ledger knows of the job."""
    return Call(("EXISTS", keys.of(queue, "job", job_id)), bool)


def owned(
    queue: str, owner: str, newest_ms: int | None, oldest_ms: int | None, limit: int, offset: int = 0
) -> Call[list[tuple[str, int]]]:
    """(id, created) of an owner's jobs in one queue, newest first, both ends included."""
    return Call(
        ("ZRANGE", keys.of(queue, "owned", owner), "+inf" if newest_ms is None else newest_ms,
         "-inf" if oldest_ms is None else oldest_ms, "BYSCORE", "REV", "LIMIT", offset, limit, "WITHSCORES"),
        _pairs,
    )  # fmt: skip


def _pairs(reply: Any) -> list[tuple[str, int]]:
    if reply and isinstance(reply[0], list):  # RESP3 pairs members with scores itself
        return [(_text(member), int(score)) for member, score in reply]
    return [(_text(reply[i]), int(float(reply[i + 1]))) for i in range(0, len(reply), 2)]


def events(job_id: str, queue: str, after: str = "0-0", limit: int = 1000) -> Call[list[Event]]:
    """A job's events after the one with id ``after``, oldest first."""
    command = ("XRANGE", keys.of(queue, "events", job_id), f"({after}", "+", "COUNT", limit)
    return Call(command, events_of)


def watch(job_id: str, queue: str, gateway: str) -> Call[bool]:
    """From now on ``gateway`` hears of this job by the news; False if there is no such job."""
    return _verb("watch", queue, [job_id, gateway], bool)


# --- queues, workers, upkeep ------------------------------------------------------------------------------------


def _queue(queue: str, action: str) -> Call[QueueStats]:
    def parse(reply: Any) -> QueueStats:
        ring, ready, running, scheduled, blocked, workers, slots, oldest, rate, paused, stale = reply
        return QueueStats(
            queue, ready, running, scheduled, blocked, workers, slots, int(oldest), float(rate), paused == 1, stale,
            ring == 1,
        )  # fmt: skip

    return _verb("queue", queue, [action], parse)


def queue_stats(queue: str) -> Call[QueueStats]:
    return _queue(queue, "read")


def pause(queue: str) -> Call[QueueStats]:
    """Nothing of this queue is claimed until it is resumed; what runs goes on."""
    return _queue(queue, "pause")


def resume(queue: str) -> Call[QueueStats]:
    """``ring`` of the answer says whether a bell must be rung."""
    return _queue(queue, "resume")


def cap(queue: str, owner: str, running: int = 0, waiting: int = 0) -> Call[int]:
    """How many jobs of a queue an owner with limits of its own may have running, and waiting (0: as others)."""
    name = keys.of(queue, "caps")
    command = ("HSET", name, owner, f"{running} {waiting}") if running or waiting else ("HDEL", name, owner)
    return Call(command, int)


def beat(
    queue: str,
    worker: str,
    ttl_ms: int,
    *,
    host: str,
    pid: int,
    slots: int,
    models: Sequence[str],
    note: str = "",
    facts: bytes = b"{}",
) -> Call[None]:
    """A worker says that it is there; it counts as online for ``ttl_ms``. ``facts``: JSON, what it sees around it."""
    fields: list[Any] = [
        "host", host, "pid", pid, "slots", slots, "models", " ".join(models), "note", note, "facts", facts
    ]  # fmt: skip
    return _verb("worker", queue, ["beat", worker, ttl_ms, *fields], lambda reply: None)


def gone(queue: str, worker: str) -> Call[None]:
    return _verb("worker", queue, ["gone", worker], lambda reply: None)


def workers(queue: str) -> Call[list[WorkerInfo]]:
    def parse(reply: Any) -> list[WorkerInfo]:
        found = []
        for worker, flat, running in reply:
            raw = {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}
            facts = orjson.loads(raw.get("facts", "{}"))
            if "clock_ms" in facts:
                facts["clock_skew_s"] = round((facts.pop("clock_ms") - int(raw["beat"])) / 1000, 3)
            found.append(
                WorkerInfo(
                    worker.decode(), queue, raw.get("host", ""), int(raw.get("pid", 0)), int(raw.get("slots", 0)),
                    int(raw.get("started", 0)), [_text(job) for job in running], raw.get("models", "").split(),
                    raw.get("note", ""), facts,
                )
            )  # fmt: skip
        return found

    return _verb("worker", queue, ["list"], parse)


def sweep(queue: str, limit: int = 500, *, full: bool = False) -> Call[Swept]:
    """One pass over a queue: what is due, lapsed, expired or past retention; rates; the bell.

    ``full``: memory is short, so submissions are refused until a pass says otherwise.
    """

    def parse(reply: Any) -> Swept:
        ring, more, due, lapsed, expired, forgotten, *rest = reply
        texts = [[_text(item) for item in part] for part in rest]
        return Swept(ring == 1, more == 1, due, lapsed, expired, forgotten, *texts)

    return _verb("sweep", queue, [limit, int(full)], parse)


def usage(queue: str, owner: str, day: int) -> Call[list[UsageRow]]:
    """An owner's figures of one day (days since 1970-01-01, UTC), a row a job type."""

    def parse(reply: Any) -> list[UsageRow]:
        flat = [item for pair in reply.items() for item in pair] if isinstance(reply, dict) else reply
        figures: dict[str, dict[str, int]] = {}
        for name, value in zip(flat[::2], flat[1::2], strict=True):
            job_type, figure = name.decode().split("|")
            figures.setdefault(job_type, {})[figure] = int(value)
        date = datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()
        return [UsageRow(queue, date, job_type, row) for job_type, row in figures.items()]

    return Call(("HGETALL", keys.of(queue, "usage", f"{owner}:{day}")), parse)


def begin_idempotent(
    owner: str, key: str, sha256: str, job_id: str, ttl_s: int = 86_400
) -> Call[tuple[str, str] | None]:
    """Reserve an idempotency key for a job about to be submitted. None: it was free; else (sha256, job id) of
    the first request. A reservation whose job does not exist (a crash in between) is submitted with that id."""

    def parse(reply: Any) -> tuple[str, str] | None:
        if reply is None:
            return None
        first_sha, first_id = reply.decode().split(" ")
        return first_sha, first_id

    return lua("reserve", [keys.idempotency(owner, key)], [f"{sha256} {job_id}", ttl_s], parse)


def reaffirm_idempotent(owner: str, key: str, sha256: str, job_id: str) -> Call[bool]:
    """Write a reservation once more as it is: what came before it, such as its job, is then waited for as well."""
    value = f"{sha256} {job_id}"
    return Call(("SET", keys.idempotency(owner, key), value, "XX", "KEEPTTL"), bool, promises=True)


def runners(queue: str) -> Call[list[str]]:
    """The processes that are answering a bell of the queue, or did so moments ago: ``worker#pid``."""
    return Call(("ZRANGE", keys.of(queue, "runners"), 0, -1), lambda reply: [_text(item) for item in reply])
