"""Batches: up to 50,000 jobs as the lines of a file. The record says how far the file is read and how the whole ended.

A batch is accepted with its record; from then on it is a courier's to carry on, who has it for a time under an attempt
number (``take``), reads its lines, submits them in groups and writes down how far it came (``advance``). The id of a
line's job follows from the batch and the line, so that what is done twice is submitted once. How many of the jobs have
ended is counted where they end, in a tally with each queue; while a batch has tallies its jobs are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson

from callboard_shared.errors import LimitReached
from callboard_shared.ids import member_id
from callboard_shared.ledger import keys, verbs
from callboard_shared.ledger.client import Call, lua
from callboard_shared.lenient import known
from callboard_shared.states import JobStatus

MOST_LINES = 50_000
LEASE_MS = 10_000
"""A courier that says nothing for so long has lost the batch."""

Dialect = Literal["callboard", "openai"]
BatchEnd = Literal["completed", "failed", "canceled"]
ENDS: tuple[BatchEnd, ...] = ("completed", "failed", "canceled")


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """What a batch is asked to do.

    file_id: its lines; lines: which of them ("3-7,9"; all if empty); retried_from: the batch whose lines these were;
    expires_s: of jobs that do not say; room: turns and bytes that a conversation may hold; endpoint: of OpenAI's.
    """

    file_id: str
    dialect: Dialect = "callboard"
    metadata: Mapping[str, str] = field(default_factory=dict)
    webhook: Mapping[str, Any] | None = None
    lines: str = ""
    retried_from: str | None = None
    endpoint: str | None = None
    expires_s: float | None = None
    room: tuple[int, int] = (0, 0)
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch to accept. hook: "statuses url" of the webhook, comma-separated; retention_ms: from its end on."""

    id: str
    owner: str
    spec: BatchSpec
    hook: str = ""
    retention_ms: int = 604_800_000


@dataclass(frozen=True, slots=True)
class Tally:
    """Of a batch's jobs: how many are submitted, and how many have ended in which way."""

    submitted: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed + self.canceled + self.expired


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """What the ledger knows of a batch.

    total: lines that there are to run, once they are counted; line, offset: the last line that was read, and where the
    next begins; read: how many of the total that were; invalid: lines that are no jobs; problem: why no more of the
    file is read; waits: why not just now; told: its jobs are canceled; output, errors: ids of its files, once written;
    status: how it ended, then with counts and results (references to the files).
    """

    id: str
    owner: str
    created_ms: int
    spec: BatchSpec
    retention_ms: int
    attempt: int = 0
    total: int | None = None
    line: int = 0
    offset: int = 0
    read: int = 0
    invalid: int = 0
    problem: Mapping[str, Any] | None = None
    waits: str | None = None
    canceling: bool = False
    told: bool = False
    output: str | None = None
    errors: str | None = None
    status: BatchEnd | None = None
    finished_ms: int | None = None
    counts: Mapping[str, int] | None = None
    results: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_read(self) -> bool:
        """Whether no more of its lines are to be submitted."""
        return (
            self.canceling or self.problem is not None or (self.total is not None and self.read >= self.total)
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a line's job; ``output`` and ``error`` are JSON."""

    status: JobStatus
    type: str
    created_ms: int
    error: bytes | None
    label: str | None
    output: bytes | None


# --- accepting, reading, changing -----------------------------------------------------------------------------


def put(batch: NewBatch, most: int = 0, watcher: str = "") -> Call[bool]:
    """Accept a batch; False if it was accepted before. ``most``: how many an owner may have that have not ended
    (0: any); over it, running the call raises LimitReached."""
    args = [
        "put",
        batch.id,
        batch.owner,
        orjson.dumps(batch.spec),
        batch.hook,
        batch.retention_ms,
        most,
        watcher,
    ]

    def parse(reply: bytes) -> bool:
        if reply == b"limit":
            raise LimitReached(
                f"This key has {most:,} batches that have not ended, which is its limit. Submit again when one has.",
                code="queue-full",
                retry_after_s=30,
            )
        return reply == b"put"

    return replace(_verb(args, parse), promises=True)


def find(batch_id: str) -> Call[BatchRecord | None]:
    return _verb(["find", batch_id], lambda reply: _record(batch_id, reply[0]) if reply[0] else None)


def find_many(batch_ids: Sequence[str]) -> Call[list[BatchRecord | None]]:
    def parse(reply: Any) -> list[BatchRecord | None]:
        return [_record(one, row) if row else None for one, row in zip(batch_ids, reply, strict=True)]

    return _verb(["find", *batch_ids], parse)


def watch(batch_id: str, gateway: str) -> Call[bool]:
    """From now on ``gateway`` hears of the batch's end by the news."""
    return _verb(["watch", batch_id, gateway], bool)


def cancel(batch_id: str) -> Call[str]:
    """``canceling`` (a courier sees to it), ``already-ended`` or ``missing``."""
    return _verb(["cancel", batch_id], lambda reply: str(reply.decode()))


def remove(batch_id: str, owner: str) -> Call[bool]:
    """Forget the record of one that has ended; its files are the caller's to delete."""
    return _verb(["remove", batch_id, owner], bool)


def owned(owner: str, newest_ms: int | None, limit: int, offset: int = 0) -> Call[list[tuple[str, int]]]:
    """(id, created) of an owner's batches, newest first."""
    newest = "+inf" if newest_ms is None else newest_ms

    def parse(reply: Any) -> list[tuple[str, int]]:
        return [(one.decode(), int(made)) for one, made in zip(reply[::2], reply[1::2], strict=True)]

    return _verb(["list", owner, newest, limit, offset], parse)


def lines_to_run_again(batch_id: str) -> Call[str]:
    """Of a batch that has ended, the lines whose jobs did not succeed, as "3-7,9"."""
    return Call(("GET", keys.of(keys.BATCHES, "again", batch_id)), lambda raw: raw.decode() if raw else "")


def tallies(batch_id: str, queues: Sequence[str]) -> list[Call[Tally]]:
    """How many of its jobs in each of these queues …; see ``summed``."""

    def parse(reply: Any) -> Tally:
        pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
        return Tally(**known(Tally, {name.decode(): int(n) for name, n in pairs}))

    return [Call(("HGETALL", keys.of(queue, "tally", batch_id)), parse) for queue in queues]


def summed(parts: Sequence[Tally]) -> Tally:
    return Tally(
        *(
            sum(getattr(part, name) for part in parts)
            for name in ("submitted", "succeeded", "failed", "canceled", "expired")
        )
    )


# --- carrying on, which is the courier's ----------------------------------------------------------------------


def take(lease_ms: int = LEASE_MS) -> Call[tuple[str, BatchRecord | None] | None]:
    """The batch that is due longest, held from now on; None if none is. Of one that was removed there is no record."""

    def parse(reply: Any) -> tuple[str, BatchRecord | None] | None:
        if not reply:
            return None
        batch_id = reply[0].decode()
        return batch_id, _record(batch_id, reply[1]) if reply[1] else None

    return _verb(["take", lease_ms], parse)


def hold(batch: BatchRecord, lease_ms: int = LEASE_MS) -> Call[bool]:
    """Hold it for another lease; False if it is lost."""
    return _verb(["hold", batch.id, batch.attempt, lease_ms], bool)


def advance(
    batch: BatchRecord, fields: Mapping[str, Any], faults: Sequence[bytes] = (), *, due_in_ms: int = LEASE_MS
) -> Call[bool]:
    """Write down how far it came; False if the batch is lost: nothing changed. ``faults``: JSON of the lines that are
    no jobs, in order; ``due_in_ms``: when a courier is to go on with it, if this one does not say more."""
    flat = [part for pair in fields.items() for part in pair]
    return _verb(["advance", batch.id, batch.attempt, due_in_ms, len(fields), *flat, *faults], bool)


def end(
    batch: BatchRecord, status: BatchEnd, counts: Mapping[str, int], results: Mapping[str, Any], again: str
) -> Call[bool]:
    """The one step in which a batch ends; False if it is lost, or had ended. ``results``: {"output"?, "errors"?},
    references to files; ``again``: the lines that a retry would run."""
    return _verb(
        ["end", batch.id, batch.attempt, status, orjson.dumps(counts), orjson.dumps(results), again], bool
    )


def closed(batch_id: str, attempt: int) -> Call[bool]:
    """There is nothing left to do with it."""
    return _verb(["closed", batch_id, attempt], bool)


def forget_tallies(batch_id: str, queues: Sequence[str]) -> list[Call[int]]:
    """From now on its jobs are kept as long as they say themselves."""
    return [Call(("DEL", keys.of(queue, "tally", batch_id)), int) for queue in queues]


def forget(limit: int = 100) -> Call[list[str]]:
    """Forget those past their retention; gives the ids of their files."""
    return _verb(["forget", limit], lambda reply: [one.decode() for one in reply])


def faults(batch_id: str, start: int, count: int) -> Call[list[bytes]]:
    """JSON of the lines that are no jobs, in order."""
    return _verb(["faults", batch_id, start, start + count - 1], list)


def results(queue: str, batch_id: str, lines: Sequence[int], most_bytes: int) -> Call[list[Result | None]]:
    """What became of the jobs of these lines, as far as they are in this queue; fewer than asked for where they are
    ``most_bytes`` together."""

    def parse(reply: Any) -> list[Result | None]:
        return [
            Result(
                JobStatus(row[0].decode()), row[1].decode(), int(row[2]), row[3], row[4].decode() if row[4] else None,
                row[5],
            )
            if row
            else None
            for row in reply
        ]  # fmt: skip

    return lua("results", [keys.base(queue)], [most_bytes, *(member_id(batch_id, n) for n in lines)], parse)


def cancellations(batch_id: str, lines: Sequence[int], queues: Sequence[str]) -> list[Call[str]]:
    """Cancel the jobs of these lines, wherever they are."""
    return [verbs.cancel(member_id(batch_id, n), queue) for queue in queues for n in lines]


def _verb(args: Sequence[Any], parse: Any) -> Call[Any]:
    return lua("batch", [keys.base(keys.BATCHES)], args, parse)


def _record(batch_id: str, flat: Sequence[bytes]) -> BatchRecord:
    raw = {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}
    spec = orjson.loads(raw["spec"])

    def text(name: str) -> str | None:
        return raw[name].decode() or None if name in raw else None

    def number(name: str) -> int | None:
        return int(raw[name]) if name in raw else None

    end = text("status")
    return BatchRecord(
        id=batch_id, owner=raw["owner"].decode(), created_ms=int(raw["created"]),
        spec=BatchSpec(**{**known(BatchSpec, spec), "room": tuple(spec["room"])}), retention_ms=int(raw["retention"]),
        attempt=int(raw["attempt"]), total=number("total"), line=number("line") or 0, offset=number("offset") or 0,
        read=number("read") or 0, invalid=number("invalid") or 0,
        problem=orjson.loads(raw["problem"]) if raw.get("problem") else None, waits=text("waits"),
        canceling="canceling" in raw, told="told" in raw, output=text("output"), errors=text("errors"),
        status=next((one for one in ENDS if one == end), None), finished_ms=number("finished"),
        counts=orjson.loads(raw["counts"]) if "counts" in raw else None,
        results=orjson.loads(raw["results"]) if "results" in raw else {},
    )  # fmt: skip
