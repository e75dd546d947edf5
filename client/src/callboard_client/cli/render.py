"""How things look on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from callboard_client._models import Event, Job, JobType
from callboard_client.cli.fields import Field, fields_of
from callboard_client.cli.session import Session

SHOWN_NUMBERS = 4


class Ticker:
    """What is seen of a job while it runs. Model text goes to standard output, all else to standard error."""

    def __init__(self, here: Session, job: Job, *, quiet: bool) -> None:
        self._here = here
        self._quiet = quiet
        self._in_text = False
        self._status = here.err.status(escape(_state(job)))
        if job.waiting_for and not quiet:
            here.err.print(job.waiting_for, style="yellow", markup=False)

    def __enter__(self) -> Self:
        if not self._quiet and self._here.err.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._status.stop()
        if self._in_text:
            sys.stdout.write("\n")

    def show(self, event: Event) -> None:
        if self._quiet:
            return
        data = event.data
        if event.kind == "delta":
            self._text(str(data.get("text", "")))
        elif event.kind == "log":
            self._here.err.print(data.get("message", ""), style="dim", markup=False)
        elif event.kind == "progress":
            self._status.update(escape(progress_line(data)))
        elif event.kind == "status":
            self._status.update(str(data.get("status", "")))

    def _text(self, text: str) -> None:
        if not self._in_text:
            self._status.stop()
            self._in_text = True
        sys.stdout.write(text)
        sys.stdout.flush()


def _state(job: Job) -> str:
    if job.waiting_for:
        return job.waiting_for
    place = f", position {job.queue_position}" if job.queue_position else ""
    eta = f", about {job.eta_s:.1f} s" if job.eta_s else ""
    return f"{job.status}{place}{eta}"


def progress_line(data: dict[str, Any]) -> str:
    """``40 % epoch 2 of 3``"""
    fraction = data.get("fraction")
    percent = "" if fraction is None else f"{fraction * 100:3.0f} % "
    steps = f"step {data['step']} of {data['steps']}" if data.get("steps") else ""
    return percent + (data.get("message") or steps)


def print_output(console: Console, value: Any) -> None:
    """An output for reading: a name a line, long lists of numbers by their beginning and length."""
    if not isinstance(value, dict):
        console.print(brief(value), markup=False)
        return
    width = max((len(name) for name in value), default=0)
    for name, inner in value.items():
        for number, line in enumerate(_lines(inner)):
            head = name if number == 0 else ""
            console.print(f"{head:<{width}}  {line}", markup=False)


def _lines(value: Any) -> Iterable[str]:
    if isinstance(value, list) and value and all(isinstance(item, list | dict | str) for item in value):
        return [brief(item) for item in value]
    return brief(value).splitlines() or [""]


def brief(value: Any) -> str:
    """One value in short: text as it is, numbers rounded, long lists of numbers by their beginning."""
    if isinstance(value, str):
        return value
    return json.dumps(_shorter(value), ensure_ascii=False).replace('"⟨', "").replace('⟩"', "")


def _shorter(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _shorter(inner) for name, inner in value.items()}
    if not isinstance(value, list):
        return value
    numbers = all(isinstance(item, int | float) for item in value)
    if numbers and len(value) > 2 * SHOWN_NUMBERS:
        return [*map(_shorter, value[:SHOWN_NUMBERS]), f"⟨… {len(value)} numbers⟩"]
    return [_shorter(item) for item in value]


def summary(job: Job) -> str:
    """``job_… succeeded: ran 12 ms, queued 3 ms, nlp@host``"""
    used = job.usage
    parts = [
        f"ran {_ms(used['run_ms'])}" if used.get("run_ms") is not None else "",
        f"queued {_ms(used['queue_ms'])}" if used.get("queue_ms") is not None else "",
        f"with {used['batch_jobs']} in its batch" if used.get("batch_jobs", 1) > 1 else "",
        job.worker or "",
    ]
    return f"{job.id} {job.status}: " + ", ".join(part for part in parts if part)


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def took(job: Job) -> str | None:
    """How long it ran, once it has."""
    run_ms = job.usage.get("run_ms")
    return None if run_ms is None else _ms(run_ms)


def size(count: int | None) -> str | None:
    """``87.3 MB``, by powers of 1,000."""
    if count is None:
        return None
    for unit, of in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= of:
            return f"{count / of:.1f} {unit}"
    return f"{count} B"


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """``12 s ago``, ``3 h ago``"""
    if moment is None:
        return "–"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A plain table; ids are never folded, so that they can be copied."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, no_wrap=column in ("id", "type", "queue", "model", "option"), overflow="fold")
    for row in rows:
        made.add_row(*(escape("–" if cell is None else str(cell)) for cell in row))
    return made


def show_type(console: Console, job_type: JobType) -> None:
    """The options of a job type, and its example as a command to paste."""
    console.print(f"[bold]{escape(job_type.name)}[/]  {escape(job_type.summary)}\n")
    rows = []
    fields = fields_of(job_type.input_schema)
    taken = {one.options[0] for one in fields}
    for one in fields:
        option = one.singular if one.singular and one.singular not in taken else one.options[0]
        note = (
            "required"
            if one.required
            else ""
            if one.default is None
            else f"default {json.dumps(one.default)}"
        )
        if one.kind == "boolean":
            option = " / ".join(one.options)
        described = " ".join(part for part in (one.description, f"[{note}]" if note else "") if part)
        rows.append((option, one.placeholder, described))
    console.print(table(("option", "value", "what it is"), rows))
    console.print(f"\nExample:\n  {_example(job_type, fields)}", markup=False)
    console.print("\nOptions of every type: callboard run --help")


def _example(job_type: JobType, fields: Sequence[Field]) -> str:
    """A command to paste. Files that the example brings within itself nobody can read: a path stands for them."""
    given = dict(job_type.example or {})
    command = f"callboard run {job_type.name}"
    for one in fields:
        if isinstance(given.get(one.name), dict) and "base64" in given[one.name]:
            del given[one.name]
            command += f" {one.options[0]} PATH"
    return f"{command} --input {_quoted(json.dumps(given, ensure_ascii=False))}" if given else command


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
