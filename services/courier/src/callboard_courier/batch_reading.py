"""Reading a batch: its lines are counted, held to the catalogue as any submission is, and submitted in groups."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from callboard_courier.allowance import Allowance, allowance_of
from callboard_shared.batches.dialects import Dialect, custom_id_of, dialect_of
from callboard_shared.batches.lines import MOST_LINE_BYTES, Line, LineNumbers, lines_of
from callboard_shared.documents import parse_json
from callboard_shared.errors import (
    CallboardError,
    FinalError,
    Invalid,
    LedgerError,
    LedgerFull,
    NotFound,
    TooLarge,
)
from callboard_shared.files import Files
from callboard_shared.ids import member_id
from callboard_shared.ledger import Call, Ledger, NewJob, SubmitReply, batching, filing, modelling, verbs
from callboard_shared.ledger.batching import MOST_LINES, BatchRecord
from callboard_shared.ledger.records import Named
from callboard_shared.submission import Reader
from callboard_shared.urls import Policy

PER_GROUP = 500
"""Lines that are submitted before it is written down how far the file is read."""
_GROUP_BYTES = 8 * 1024 * 1024
_PER_CALL = 250
"""Jobs in one script run: the ledger serves others between two runs."""
_TURN_S = 1.0
"""After which another batch has its turn."""
PAUSE_MS = 5_000
"""Until a batch that may not submit just now tries again."""
SHORT_PAUSE_MS = 500
"""The same of one that waits only for its own jobs to end."""
_HOLD_S = 3.0


class Lost(Exception):
    """Another courier has the batch."""


@dataclass(slots=True)
class _Group:
    """Lines that are submitted together: those that are jobs, those that are none, and where the file goes on."""

    jobs: dict[int, NewJob] = field(default_factory=dict)
    faults: dict[int, tuple[str | None, CallboardError]] = field(default_factory=dict)
    labels: dict[int, str | None] = field(default_factory=dict)
    line: int = 0
    offset: int = 0
    read: int = 0
    bytes: int = 0


class Reading:
    """``ring``: rings for a queue."""

    def __init__(
        self, ledger: Ledger, files: Files, urls: Policy, queues: Sequence[str], ring: Callable[[str], None]
    ) -> None:
        self._ledger, self._files, self._urls, self._queues, self._ring = ledger, files, urls, queues, ring

    def go_on(self, batch: BatchRecord) -> None:
        """Submit lines for a second. Raises Lost, LedgerError or OSError: then it goes on from there."""
        try:
            if batch.total is None:
                batch = self._count(batch)
            self._submit(batch)
        except (NotFound, FinalError) as error:
            self._write_down(batch, {"problem": orjson.dumps(error.problem())}, due_in_ms=0)

    # --- counting -------------------------------------------------------------------------------------------

    def _count(self, batch: BatchRecord) -> BatchRecord:
        """Raises FinalError for a file that is no batch."""
        wanted, total, number, held = LineNumbers(batch.spec.lines), 0, 0, time.monotonic()
        for line in self._lines(batch):
            number = line.number
            total += not line.is_blank and number in wanted
            if number > MOST_LINES:
                raise FinalError(
                    f"A batch has at most {MOST_LINES:,} lines, and this file more.", code="too-large"
                )
            if time.monotonic() - held > _HOLD_S:
                held = time.monotonic()
                if not self._ledger.run(batching.hold(batch)):
                    raise Lost
        if not total:
            raise FinalError("The file has no lines.", code="empty-batch")
        self._write_down(batch, {"total": total})
        return replace(batch, total=total)

    def _lines(self, batch: BatchRecord) -> Iterator[Line]:
        try:
            content = self._files.store.open(batch.spec.file_id)
        except NotFound:
            raise NotFound(
                f"The content of {batch.spec.file_id} is no longer there, so the rest of the batch cannot be read.",
                code="input-file-gone",
            ) from None
        with content:
            yield from lines_of(content, batch.line, batch.offset)

    # --- submitting -----------------------------------------------------------------------------------------

    def _submit(self, batch: BatchRecord) -> None:
        until = time.monotonic() + _TURN_S
        reader = _LineReader(batch, self._urls)
        allowance = allowance_of(self._ledger, batch, self._queues)
        lines = self._lines(batch)
        line = next(lines, None)
        while line is not None and time.monotonic() < until:
            group = _Group(line=batch.line, offset=batch.offset, read=batch.read)
            line = self._gather(group, line, lines, reader, allowance)
            try:
                batch = self._send(batch, group, over=line is None)
            except LedgerFull as error:
                self._pause(batch, error.detail, PAUSE_MS)
                return
            if line is not None and allowance.refused is not None:
                self._pause(batch, allowance.refused, SHORT_PAUSE_MS if allowance.under_way else PAUSE_MS)
                return
        fields = {} if line is not None else {"read": batch.total}  # the file may have become shorter
        self._write_down(batch, fields, due_in_ms=0)

    def _gather(
        self,
        group: _Group,
        line: Line | None,
        lines: Iterator[Line],
        reader: _LineReader,
        allowance: Allowance,
    ) -> Line | None:
        """Fill the group from ``line`` on; gives the line that it did not take."""
        first = group.line
        while line is not None and line.number - first <= PER_GROUP and group.bytes < _GROUP_BYTES:
            if not line.is_blank and line.number in reader.wanted:
                if not reader.read(line, group, allowance):
                    return line
                group.read += 1
                group.bytes += len(line.text or b"")
            group.line, group.offset = line.number, line.offset
            line = next(lines, None)
        return line

    def _send(self, batch: BatchRecord, group: _Group, *, over: bool) -> BatchRecord:
        """Submit a group and write down how far that is. Raises LedgerError."""
        self._look_up(group)
        by_queue: dict[str, list[tuple[int, NewJob]]] = {}
        for pair in group.jobs.items():
            by_queue.setdefault(pair[1].queue, []).append(pair)
        parts = [
            some[at : at + _PER_CALL] for some in by_queue.values() for at in range(0, len(some), _PER_CALL)
        ]
        turns, size = batch.spec.room
        calls = [
            verbs.submit(part[0][1].queue, [job for _, job in part], max_turns=turns, max_bytes=size)
            for part in parts
        ]
        for part, reply in zip(parts, self._all(calls), strict=True):
            self._take_in(group, part, reply)
        faults = [
            orjson.dumps({"line": number, "custom_id": label, "problem": error.problem()})
            for number, (label, error) in sorted(group.faults.items())
        ]
        fields = {
            "line": group.line, "offset": group.offset, "read": group.read, "invalid": batch.invalid + len(faults),
            "waits": "",
        }  # fmt: skip
        self._write_down(batch, fields, faults)
        return replace(
            batch, line=group.line, offset=group.offset, read=group.read, invalid=batch.invalid + len(faults)
        )

    def _take_in(self, group: _Group, part: Sequence[tuple[int, NewJob]], reply: SubmitReply) -> None:
        for (number, _), result in zip(part, reply.results, strict=True):
            if isinstance(result, CallboardError):
                group.faults[number] = group.labels.get(number), result
        if reply.ring:
            self._ring(part[0][1].queue)

    def _look_up(self, group: _Group) -> None:
        """Whether files that the jobs name are there, and models their owner's: then they share no batch with others'.
        Whether there is a model of a name at all, its worker judges."""
        asked: dict[tuple[str, str], Call[Any]] = {}
        for job in group.jobs.values():
            for named in job.names:
                asked[named.kind, named.value] = _look_up(job.owner, named)
        found = dict(zip(asked, self._all(list(asked.values())), strict=True))
        for number, job in list(group.jobs.items()):
            missing = next(
                (one for one in job.names if one.kind != "model" and not _is_own(one, job, found)), None
            )
            if missing is not None:
                group.faults[number] = group.labels.get(number), _unknown_file(missing)
                del group.jobs[number]
            elif any(one.kind == "model" and found[one.kind, one.value] for one in job.names):
                group.jobs[number] = replace(job, batch_key=f"{job.batch_key}|{job.owner}")

    def _all(self, calls: Sequence[Call[Any]]) -> list[Any]:
        answers = self._ledger.run_many(calls) if calls else []
        for answer in answers:
            if isinstance(answer, LedgerError):
                raise answer
        return answers

    def _pause(self, batch: BatchRecord, why: str, pause_ms: int) -> None:
        self._write_down(batch, {"waits": why}, due_in_ms=pause_ms)

    def _write_down(
        self,
        batch: BatchRecord,
        fields: dict[str, Any],
        faults: Sequence[bytes] = (),
        due_in_ms: int | None = None,
    ) -> None:
        due = batching.LEASE_MS if due_in_ms is None else due_in_ms
        if not self._ledger.run(batching.advance(batch, fields, faults, due_in_ms=due)):
            raise Lost


class _LineReader:
    """From a line to a job, or to what is wrong with it."""

    def __init__(self, batch: BatchRecord, urls: Policy) -> None:
        self.wanted = LineNumbers(batch.spec.lines)
        self._batch = batch
        self._dialect: Dialect = dialect_of(batch.spec)
        self._reader = Reader(batch.spec.expires_s, urls, knows_model=lambda *_: False)

    def read(self, line: Line, group: _Group, allowance: Allowance) -> bool:
        """Put the line into the group; False if the key may not submit its job just now."""
        label: str | None = None
        try:
            if line.text is None or len(line.text) > MOST_LINE_BYTES + 1:
                raise TooLarge(
                    f"A line may have at most {MOST_LINE_BYTES:,} bytes. Give large data as files."
                )
            document = parse_json(line.text)
            label = custom_id_of(document)
            job = self._job(line.number, label, document)
        except CallboardError as error:
            said = self._dialect.said_of(error) if isinstance(error, Invalid) else error
            group.faults[line.number] = label, said
            return True
        if not allowance.take(job.type):
            return False
        group.jobs[line.number] = job
        group.labels[line.number] = label
        return True

    def _job(self, number: int, label: str | None, document: Any) -> NewJob:
        batch = self._batch
        if not isinstance(document, dict):
            raise Invalid("A line is a JSON object.")
        about: dict[str, Any] = {"id": batch.id, "line": number}
        if label is not None:
            about["custom_id"] = label
        return self._reader.read(
            self._dialect.job(document),
            batch.owner,
            batch.spec.traceparent,
            members=b'"batch":%b,' % orjson.dumps(about),
            id=member_id(batch.id, number),
            group=batch.id,
            label=label or "",
        )


def _look_up(owner: str, named: Named) -> Call[Any]:
    """Whether an uploaded picture is one, its worker judges."""
    return modelling.find_model(owner, named.value) if named.kind == "model" else filing.get_file(named.value)


def _is_own(named: Named, job: NewJob, found: dict[tuple[str, str], Any]) -> bool:
    record = found[named.kind, named.value]
    return record is not None and record.owner == job.owner


def _unknown_file(named: Named) -> Invalid:
    message = (
        f"There is no file '{named.value[:64]}'. Upload it with POST /v1/files and give the id that it gets."
    )
    return Invalid(
        message,
        code="unknown-file",
        errors=[{"field": named.field, "message": message, "code": "unknown-file"}],
    )
