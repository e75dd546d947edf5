"""What became of a batch, written into its files in the order of its lines, and its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import orjson

from callboard_courier.batch_reading import PER_GROUP, Lost
from callboard_shared.batches.dialects import Dialect, Outcome, custom_id_of, dialect_of
from callboard_shared.batches.lines import LineNumbers, lines_of
from callboard_shared.errors import CallboardError, FinalError, LedgerError, NotFound
from callboard_shared.files import Draft, FileRecord, Files
from callboard_shared.ids import member_id, new_id
from callboard_shared.jobs import FileReference
from callboard_shared.ledger import Ledger, batching, filing
from callboard_shared.ledger.batching import MOST_LINES, BatchEnd, BatchRecord, Result
from callboard_shared.states import JobStatus

_PIECE_BYTES = 4 * 1024 * 1024
"""Of outputs that are read at once."""
_MEDIA_TYPE = "application/jsonl"
_RUN_AGAIN = ("failed", "expired", "canceled")
_COUNTED = ("succeeded", "failed", "canceled", "expired", "invalid")


class Writing:
    def __init__(self, ledger: Ledger, files: Files) -> None:
        self._ledger, self._files = ledger, files

    def finish(self, batch: BatchRecord, queues: Sequence[str]) -> None:
        """Write the files of a batch all of whose jobs have ended, and end it. Raises Lost, LedgerError or OSError:
        then it is done again, into the same files. ``queues``: those that its jobs are in."""
        batch = self._with_file_ids(batch)
        counts: Counter[str] = Counter()
        again: list[int] = []
        output, errors = self._write(batch, queues, counts, again)
        for record in filter(None, (output, errors)):
            self._ledger.run(filing.put_file(record))
        results = {
            name: record.reference() for name, record in (("output", output), ("errors", errors)) if record
        }
        total = sum(counts.values())
        unread = max(0, (batch.total or 0) - total)  # lines of a file that is gone
        counts["failed"] += unread
        told = {"total": total + unread, "pending": 0, **{name: counts[name] for name in _COUNTED}}
        ended = batching.end(batch, _end_of(batch), told, results, LineNumbers.written(again))
        if not self._ledger.run(ended):
            raise Lost

    def _with_file_ids(self, batch: BatchRecord) -> BatchRecord:
        """The ids of its files are written down before there are any, so that none is left behind."""
        if batch.output is not None:
            return batch
        output, errors = new_id("file"), new_id("file")
        if not self._ledger.run(batching.advance(batch, {"output": output, "errors": errors})):
            raise Lost
        return replace(batch, output=output, errors=errors)

    def _write(
        self, batch: BatchRecord, queues: Sequence[str], counts: Counter[str], again: list[int]
    ) -> tuple[FileRecord | None, FileRecord | None]:
        dialect = dialect_of(batch.spec)
        with ExitStack() as stack:
            output = _Part(self._draft(batch, "output", batch.output), stack)
            errors = _Part(self._draft(batch, "errors", batch.errors), stack)
            for outcome in self._outcomes(batch, queues, dialect):
                counts[outcome.status] += 1
                succeeded = outcome.status == "succeeded"
                line = self._written(dialect, outcome) + b"\n"
                if succeeded or dialect.lists_failures:
                    output.write(line)
                if not succeeded:
                    errors.write(line)
                if outcome.status in _RUN_AGAIN:
                    again.append(outcome.line)
            return output.finish(), errors.finish()

    def _draft(self, batch: BatchRecord, what: str, file_id: str | None) -> Draft:
        name = f"{batch.id}_{what}.jsonl"
        return self._files.draft(batch.owner, name, purpose="batch_output", file_id=file_id)

    def _written(self, dialect: Dialect, outcome: Outcome) -> bytes:
        if outcome.status == "succeeded" and dialect.takes_whole_outputs and outcome.output:
            output = orjson.loads(outcome.output)
            if isinstance(output, dict) and output.keys() == FileReference.model_fields.keys():
                try:
                    outcome = replace(outcome, output=self._files.get_bytes(output["file_id"]))
                except NotFound:
                    problem = FinalError("The file with its output is gone.", code="output-gone").problem()
                    outcome = replace(outcome, status="failed", problem=problem)
        return dialect.written(outcome)

    # --- what became of each line ---------------------------------------------------------------------------

    def _outcomes(self, batch: BatchRecord, queues: Sequence[str], dialect: Dialect) -> Iterator[Outcome]:
        """In order. Of lines that were not read there may be jobs all the same: a courier was killed in between."""
        faults = self._faults(batch)
        fault = next(faults, None)
        wanted = LineNumbers(batch.spec.lines)
        for first in range(1, batch.line + 1, PER_GROUP):
            numbers = [n for n in range(first, min(first + PER_GROUP, batch.line + 1)) if n in wanted]
            for number, result in self._results(batch, queues, numbers):
                at_fault = fault if fault is not None and fault.line == number else None
                if at_fault is not None:
                    fault = next(faults, None)
                if result is not None:
                    yield _outcome(batch, number, result)
                elif at_fault is not None:
                    yield at_fault
        if batch.canceling if batch.total is None else batch.read < batch.total:
            yield from self._unread(batch, queues, wanted)

    def _unread(self, batch: BatchRecord, queues: Sequence[str], wanted: LineNumbers) -> Iterator[Outcome]:
        labels: dict[int, str | None] = {}
        try:
            with self._files.store.open(batch.spec.file_id) as content:
                for line in lines_of(content, batch.line, batch.offset):
                    if line.number > MOST_LINES:
                        break
                    if not line.is_blank and line.number in wanted:
                        labels[line.number] = _label_of(line.text)
        except NotFound:
            labels = {}
        numbers = list(labels) or [
            n for n in range(batch.line + 1, batch.line + PER_GROUP + 1) if n in wanted
        ]
        for first in range(0, len(numbers), PER_GROUP):
            for number, result in self._results(batch, queues, numbers[first : first + PER_GROUP]):
                if result is not None:
                    yield _outcome(batch, number, result)
                elif labels:
                    yield _not_submitted(batch, number, labels[number])

    def _results(
        self, batch: BatchRecord, queues: Sequence[str], numbers: Sequence[int]
    ) -> Iterator[tuple[int, Result | None]]:
        """Of each line its job's, in pieces whose outputs fit into memory."""
        self._hold(batch)
        while numbers:
            calls = [batching.results(queue, batch.id, numbers, _PIECE_BYTES) for queue in queues]
            parts: list[list[Result | None]] = []
            for answer in self._ledger.run_many(calls):
                if isinstance(answer, LedgerError):
                    raise answer
                parts.append(answer)
            count = min(map(len, parts), default=len(numbers))
            for at, number in enumerate(numbers[:count]):
                yield number, next((part[at] for part in parts if part[at] is not None), None)
            numbers = numbers[count:]

    def _faults(self, batch: BatchRecord) -> Iterator[Outcome]:
        start = 0
        while rows := self._ledger.run(batching.faults(batch.id, start, PER_GROUP)):
            for row in rows:
                said = orjson.loads(row)
                yield Outcome(said["line"], said["custom_id"], "invalid", problem=said["problem"])
            start += len(rows)

    def _hold(self, batch: BatchRecord) -> None:
        if not self._ledger.run(batching.hold(batch)):
            raise Lost


class _Part:
    """One of the files; there is none if nothing is written into it."""

    def __init__(self, draft: Draft, stack: ExitStack) -> None:
        self._draft, self._stack, self._begun = draft, stack, False
        self._waiting = bytearray()

    def write(self, line: bytes) -> None:
        self._waiting += line
        if len(self._waiting) > 256 * 1024:
            self._flush()

    def finish(self) -> FileRecord | None:
        if self._waiting:
            self._flush()
        return self._draft.finish(_MEDIA_TYPE) if self._begun else None

    def _flush(self) -> None:
        if not self._begun:
            self._stack.enter_context(self._draft)
            self._begun = True
        self._draft.write(bytes(self._waiting))
        self._waiting.clear()


def _end_of(batch: BatchRecord) -> BatchEnd:
    if batch.canceling:
        return "canceled"
    return "completed" if batch.problem is None else "failed"


def _outcome(batch: BatchRecord, number: int, result: Result) -> Outcome:
    status, problem = result.status, None
    if status is JobStatus.EXPIRED:
        problem = FinalError("It had not started when its time was up.", code="expired").problem()
    elif status is JobStatus.CANCELED:
        problem = FinalError("It was canceled.", code="canceled").problem()
    elif status is not JobStatus.SUCCEEDED:
        problem = orjson.loads(result.error or b"{}")
    return Outcome(
        number,
        result.label,
        "succeeded" if problem is None else _STATUSES.get(status, "failed"),
        member_id(batch.id, number),
        result.type,
        result.created_ms,
        result.output,
        problem,
    )


_STATUSES: dict[JobStatus, Any] = {JobStatus.EXPIRED: "expired", JobStatus.CANCELED: "canceled"}


def _not_submitted(batch: BatchRecord, number: int, label: str | None) -> Outcome:
    if batch.canceling:
        problem = FinalError(
            "The batch was canceled before this line was submitted.", code="canceled"
        ).problem()
        return Outcome(number, label, "canceled", problem=problem)
    return Outcome(number, label, "failed", problem=batch.problem)


def _label_of(text: bytes | None) -> str | None:
    try:
        return custom_id_of(orjson.loads(text or b"null"))
    except (orjson.JSONDecodeError, CallboardError):
        return None
