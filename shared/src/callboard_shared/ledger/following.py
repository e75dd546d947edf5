"""Following what happens: to jobs, and to all jobs of an owner. Each of these verbs answers many readers at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call, lua
from callboard_shared.ledger.records import Event
from callboard_shared.states import JobStatus

PAGE = 100
"""The most events that one reader is given at once."""
NOTHING = ""
"""In place of an event's id: no events are wanted, only how the job stands."""
FROM_NOW = ""
"""In place of an entry's id: what a feed has told so far is not wanted."""


@dataclass(frozen=True, slots=True)
class Told:
    """How a job stands, and at most PAGE of its events; with fewer there are no more as yet."""

    status: JobStatus
    events: list[Event]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened to a job of an owner: ``status``, ``progress`` or ``done``; data: JSON object."""

    id: str
    kind: str
    job_id: str
    type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Fed:
    """At most PAGE entries of a feed. last: id of its newest entry; gap: what came after the entry that was named is
    not all there any more, and nothing is given."""

    gap: bool
    last: str
    entries: list[Entry]


def follow(queue: str, gateway: str, places: Sequence[tuple[str, str]]) -> Call[list[Told | None]]:
    """Per (job id, id of the last event seen) what came since, or None if there is no such job.

    ``gateway`` hears of these jobs by the news from now on.
    """

    def parse(reply: Any) -> list[Told | None]:
        return [_told(row) if row else None for row in reply]

    args = [gateway, PAGE, *(item for place in places for item in place)]
    return lua("follow", [keys.base(queue)], args, parse)


def _told(row: Any) -> Told | None:
    """None also for a job whose status is none that this code knows."""
    status = JobStatus.known(row[0])
    return Told(status, events_of(row[1])) if status is not None else None


def feed(queue: str, gateway: str, places: Sequence[tuple[str, str]], window_ms: int) -> Call[list[Fed]]:
    """Per (owner, id of the last entry seen) what came since to the owner's jobs in this queue.

    Their feeds are kept, and ``gateway`` hears of them, for ``window_ms`` from now on.
    """

    def parse(reply: Any) -> list[Fed]:
        return [Fed(gap == 1, last.decode(), [_entry(row) for row in rows]) for gap, last, rows in reply]

    args = [gateway, window_ms, PAGE, *(item for place in places for item in place)]
    return lua("feed", [keys.base(queue)], args, parse)


def news_of(owner: str) -> str:
    """What the news call an owner's feed, where they call a job by its id."""
    return f"feed {owner}"


def events_of(reply: Any) -> list[Event]:
    """What XRANGE gives of a job's events."""
    found = []
    for entry_id, flat in reply or []:
        fields = _fields(flat)
        found.append(Event(entry_id.decode(), fields[b"kind"].decode(), fields[b"data"]))
    return found


def _entry(row: Any) -> Entry:
    fields = _fields(row[1])
    kind, job_id, job_type = (fields[name].decode() for name in (b"kind", b"job", b"type"))
    return Entry(row[0].decode(), kind, job_id, job_type, fields[b"data"])


def _fields(flat: Any) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True)) if isinstance(flat, list) else flat
