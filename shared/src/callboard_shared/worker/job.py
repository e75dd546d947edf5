"""What a handler gets: the job with its validated input, and the context through which it speaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson

from callboard_shared.errors import JobError, LedgerUnavailable
from callboard_shared.files import FileRecord, Files
from callboard_shared.jobs.base import FileInput, Input
from callboard_shared.ledger import Call, verbs
from callboard_shared.worker.inputs import Fetch, Inputs, OpenedFile, fetched

I = TypeVar("I", bound=Input)  # noqa: E741

_FLUSH_S = 0.1
"""Events of a job that come faster than this are sent together."""
_MOST_UNSENT = 10_000
"""Events of a job that are kept while the ledger is away; the oldest go first."""


class JobCanceled(JobError):
    """The job is to stop: canceled by its owner, or out of time. Raised by ``check_canceled``; let it pass."""

    code = "canceled"


class ClaimLost(JobError):
    """The job belongs to another runner by now (this process was silent for too long); what it does is void."""

    code = "claim-lost"


def _nobody_answers(call: Call[Any]) -> Any:
    raise LedgerUnavailable("This context has no ledger to ask.")


class Context:
    """A handler's way to tell and to ask. Safe to use from the handler's own threads.

    ``usage`` is what the job consumed: ``tokens`` and ``characters`` are summed up per key.
    ``unfinished`` is the output that the job keeps if it is canceled, as far as it has come. ``reply`` joins the
    conversation in which the job speaks, if it succeeds or is canceled: an object with ``content``.
    """

    def __init__(
        self,
        job_id: str,
        queue: str,
        owner: str,
        attempt: int,
        *,
        runner: str,
        send: Callable[[Call[str]], bool],
        files: Files,
        find_file: Callable[[str], FileRecord | None] = lambda file_id: None,
        ask: Callable[[Call[Any]], Any] = _nobody_answers,
        fetch: Fetch = fetched,
    ) -> None:
        self.job_id, self.queue, self.owner, self.attempt = job_id, queue, owner, attempt
        self.usage: dict[str, int | float] = {}
        self.unfinished: dict[str, Any] | None = None
        self.reply: dict[str, Any] | None = None
        self.created: list[FileRecord] = []
        self.afterwards: Callable[[], None] | None = None
        self.ask = ask
        """Runs a call on the ledger and gives its answer. Blocks; raises LedgerError."""
        self._runner, self._send, self._files = runner, send, files
        self._inputs = Inputs(owner, files, find_file, fetch, self.check_canceled)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._events: list[tuple[str, bytes]] = []
        self._progress = b""
        self._fraction = 0.0
        self._sent_at = 0.0
        self._stop: JobError | None = None
        self._on_stop: Callable[[], None] | None = None
        self._waits = 0
        self._waiting_since = 0.0
        self._waited_s = 0.0

    def progress(
        self,
        fraction: float,
        message: str | None = None,
        *,
        step: int | None = None,
        steps: int | None = None,
        **metrics: float,
    ) -> None:
        """How far the job is, 0…1; never falls within an attempt. ``metrics`` travel with the event."""
        self._fraction = max(self._fraction, min(1.0, fraction))
        shown: dict[str, Any] = {
            "fraction": round(self._fraction, 4), "message": message, "step": step, "steps": steps, **metrics
        }  # fmt: skip
        data = orjson.dumps(shown, option=orjson.OPT_SERIALIZE_NUMPY)
        self._add("progress", data, progress=data)

    def log(self, level: str, message: str) -> None:
        """A line for the job's owner: ``debug``, ``info``, ``warning`` or ``error``."""
        self._add("log", orjson.dumps({"level": level, "message": message}))

    def delta(self, text: str) -> None:
        """A piece of an answer that is still being made."""
        self._add("delta", orjson.dumps({"text": text}))

    def put_file(self, name: str, data: bytes | Iterable[bytes], media_type: str | None = None) -> FileRecord:
        """Keep an artifact of the job, whole or in pieces; it lives as long as the job does."""
        pieces = (data,) if isinstance(data, bytes) else data
        record = self._files.put_stream(
            self.owner, name, pieces, media_type, job_id=self.job_id, purpose="output"
        )
        self.created.append(record)
        return record

    def open_file(self, given: FileInput, max_bytes: int | None = None) -> OpenedFile:
        """A file that the input gives, of at most ``max_bytes``, to be read in a ``with`` block. Blocks, and fetches
        what is at a URL. Raises FinalError ``file-not-found`` (also for another key's), ``invalid-base64`` or
        ``file-too-large``, what ``callboard_shared.outbound.fetch`` raises, and LedgerError."""
        return self._inputs.open(given, max_bytes)

    def bring(self, given: FileInput, max_bytes: int | None) -> None:
        """Fetch what is at a URL before it is opened; it stays until ``close``. Blocks; raises as ``open_file``."""
        self._inputs.bring(given, max_bytes)

    def close(self) -> None:
        """The attempt is over: nothing is opened any more."""
        self._inputs.close()

    def once_committed(self, call: Callable[[], None]) -> None:
        """Run ``call``, which may block, when the job has succeeded and its output is committed: to tidy up what an
        attempt that comes to nothing leaves to the next. A worker that dies just then does not run it."""
        self.afterwards = call

    @property
    def canceled(self) -> bool:
        return self._stop is not None

    def check_canceled(self) -> None:
        """Call it where stopping is easy. Raises JobCanceled or ClaimLost when there is no point in going on."""
        if self._stop is not None:
            raise self._stop

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Within, the job's time limit stands still: for what waits for its turn elsewhere, and does nothing."""
        with self._lock:
            self._waits += 1
            if self._waits == 1:
                self._waiting_since = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._waits -= 1
                if self._waits == 0:
                    self._waited_s += time.monotonic() - self._waiting_since

    # --- the runtime's side ---

    @property
    def waited_s(self) -> float:
        """Seconds spent in ``waiting`` so far."""
        with self._lock:
            return self._waited_s + (time.monotonic() - self._waiting_since if self._waits else 0.0)

    def stop(self, reason: JobError) -> None:
        """Make the handler stop at its next check; the first reason counts."""
        if self._stop is None:
            self._stop = reason
            if self._on_stop is not None:
                self._on_stop()

    def on_stop(self, call: Callable[[], None]) -> None:
        """``call`` may be called twice, and from another thread."""
        self._on_stop = call
        if self._stop is not None:
            call()

    def flush(self) -> bool:
        """Send what was gathered; False if the ledger is away, then it is kept for the next time."""
        with self._sending:  # the keeper flushes too: events must not overtake each other
            with self._lock:
                events, self._events = self._events, []
                progress, self._progress = self._progress, b""
                self._sent_at = time.monotonic()
            if not events:
                return True
            call = verbs.report(self.queue, self._runner, self.job_id, self.attempt, events, progress)
            if self._send(call):
                return True
            with self._lock:
                self._events = (events + self._events)[-_MOST_UNSENT:]
                self._progress = self._progress or progress
            return False

    @property
    def spoke(self) -> bool:
        """Whether the handler said anything in this attempt."""
        return self._sent_at > 0

    @property
    def has_unsent(self) -> bool:
        return bool(self._events) and time.monotonic() - self._sent_at >= _FLUSH_S

    def _add(self, kind: str, data: bytes, progress: bytes = b"") -> None:
        with self._lock:
            self._events.append((kind, data))
            self._progress = progress or self._progress
            due = time.monotonic() - self._sent_at >= _FLUSH_S
        if due:
            self.flush()


@dataclass(frozen=True, slots=True)
class Job(Generic[I]):
    """A claimed job. ``attempt`` counts from 1."""

    id: str
    type: str
    owner: str
    attempt: int
    input: I
    context: Context
