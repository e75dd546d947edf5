"""What happens to all jobs of an API key, for one reader: ``status``, ``progress`` and ``done``.

The ledger keeps a feed of them for each queue while somebody follows it, and for a while after. An event's id names
the place in every feed, so that a reader who comes back within that while misses nothing and hears nothing twice. To
one who comes later, or has fallen behind what is kept, ``reset`` says so.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from callboard_gateway.desk import Desk
from callboard_gateway.event_streams import AWAY, RETRY, STILL_HERE, frame
from callboard_shared.errors import LedgerError
from callboard_shared.ledger.following import FROM_NOW, PAGE, Entry, news_of
from callboard_shared.view import job_view

_PLACE = re.compile(r"([a-z][a-z0-9-]*):(\d{1,15}-\d{1,15})")
_RESET = orjson.dumps(
    {"reason": "Some events since then are not kept any more. List the jobs anew; from here on all are told."}
)
PACE_S = 0.05
"""Between two looks at the feeds: a dashboard needs no more, however much happens."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a reader wants; an empty set stands for all. statuses: of ``status`` and ``done``."""

    kinds: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()

    def lets(self, entry: Entry) -> bool:
        return (
            (not self.kinds or entry.kind in self.kinds)
            and (not self.types or entry.type in self.types)
            and (not self.statuses or orjson.loads(entry.data).get("status") in self.statuses)
        )


def places_of(event_id: str) -> dict[str, str] | None:
    """The place in each queue's feed that an event's id names; None if it is no such id."""
    found = [_PLACE.fullmatch(part) for part in event_id.split(",")]
    return {one[1]: one[2] for one in found if one} if all(found) else None


class KeyStream:
    """One reader of the feeds of ``owner``. places: where it was (see ``places_of``); None begins now."""

    def __init__(
        self,
        desk: Desk,
        owner: str,
        queues: Sequence[str],
        places: Mapping[str, str] | None,
        wanted: Filter,
        comment_s: float,
    ) -> None:
        self._desk, self._owner, self._wanted, self._comment_s = desk, owner, wanted, comment_s
        self._anew = places is None
        self._places = {queue: (places or {}).get(queue, FROM_NOW) for queue in queues}

    async def frames(self) -> AsyncGenerator[bytes]:
        """As server-sent events; only the server's stopping ends them."""
        yield RETRY
        loop = asyncio.get_running_loop()
        spoken = loop.time()
        async with self._desk.news.expect(news_of(self._owner)) as bulletin:
            while not self._desk.stopping.begun:
                try:
                    told, more = await self._new()
                except LedgerError:
                    yield AWAY
                    await self._desk.pause(bulletin, 1)
                    continue
                if told or loop.time() - spoken >= self._comment_s:
                    yield (
                        told or STILL_HERE[:-1] + self._here()
                    )  # what is filtered out moves the place on, too
                    spoken = loop.time()
                if not more:
                    await asyncio.sleep(PACE_S)
                    await self._desk.pause(bulletin, spoken + self._comment_s - loop.time())

    def _id(self) -> str:
        return ",".join(f"{queue}:{place}" for queue, place in self._places.items())

    def _here(self) -> bytes:
        """No event, but the place: what follows it is told to whoever comes back with it."""
        return b"id: %b\n\n" % self._id().encode()

    async def _new(self) -> tuple[bytes, bool]:
        """What is new, and whether there is more. If it raises LedgerError, nothing counts as told."""
        queues = list(self._places)
        answers = await asyncio.gather(
            *(self._desk.inquiries.feed(queue, self._owner, self._places[queue]) for queue in queues)
        )
        entries = [
            (entry, queue) for queue, fed in zip(queues, answers, strict=True) for entry in fed.entries
        ]
        full = [_moment(fed.entries[-1].id) for fed in answers if len(fed.entries) == PAGE]
        if full:  # of one queue not all is read yet: what comes after that in another one is told later
            entries = [pair for pair in entries if _moment(pair[0].id) <= min(full)]
        entries.sort(key=lambda pair: _moment(pair[0].id))
        shown = await self._shown([(entry, queue) for entry, queue in entries if self._wanted.lets(entry)])
        began = self._anew
        self._anew = False
        reset = False
        for queue, fed in zip(queues, answers, strict=True):
            if self._places[queue] == FROM_NOW or fed.gap:
                reset |= not began
                self._places[queue] = fed.last
        frames = [self._here()] if began else []
        if reset:
            frames.append(frame(self._id(), "reset", _RESET))
        for entry, queue in entries:
            self._places[queue] = entry.id
            if entry in shown:
                frames.append(frame(self._id(), entry.kind, shown[entry]))
        return b"".join(frames), bool(full)

    async def _shown(self, entries: Sequence[tuple[Entry, str]]) -> dict[Entry, bytes]:
        """Each as what it says of its job; of one that ended, the job without input and output."""
        ended = [(entry, queue) for entry, queue in entries if entry.kind == "done"]
        records = await asyncio.gather(
            *(self._desk.inquiries.record(queue, entry.job_id) for entry, queue in ended)
        )
        thin = {
            entry: {
                name: value for name, value in job_view(record).items() if name not in ("input", "output")
            }
            for (entry, _), record in zip(ended, records, strict=True)
            if record is not None
        }
        return {entry: orjson.dumps(thin.get(entry) or _said(entry, queue)) for entry, queue in entries}


def _said(entry: Entry, queue: str) -> dict[str, object]:
    said = {"id": entry.job_id, "type": entry.type, "queue": queue}
    if entry.kind == "progress":
        return {**said, "progress": orjson.Fragment(entry.data)}
    return {**said, **orjson.loads(entry.data)}


def _moment(entry_id: str) -> tuple[int, int]:
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number)
