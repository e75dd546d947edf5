"""Deliveries: an event on its way to one URL, with each try that was made.

Couriers take due deliveries as workers claim jobs: with a lease and an attempt number, so that one that dies is
followed by another, and what it says late changes nothing. What goes to one endpoint, or to one URL of jobs, waits
in one *lane*.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

from callboard_shared.ids import derived_id
from callboard_shared.ledger import keys
from callboard_shared.ledger.client import AsyncLedger, Call, lua
from callboard_shared.ledger.outbox import OutboxRow
from callboard_shared.webhooks import is_final

MOST_KEPT_MS = 7 * 86_400_000
"""An ended delivery is kept as long as its job would be, and no longer than this."""

_PAGE = 100
_MOST_PAGES = 100


@dataclass(frozen=True, slots=True)
class NewDelivery:
    id: str
    owner: str
    event: str
    message: str
    subject: str
    queue: str
    type: str
    run: int
    at_ms: int
    endpoint: str
    url: str
    lane: str
    host: str
    keep_ms: int
    final: bool


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that a courier has taken. skip: the circuit of its destination is open, so it goes on to its next time
    without a try; step: how many times of the schedule it has used; run: a job's attempt."""

    id: str
    attempt: int
    skip: bool
    secrets: tuple[str, ...]
    owner: str
    event: str
    message: str
    subject: str
    queue: str
    type: str
    run: int
    at_ms: int
    url: str
    step: int


@dataclass(frozen=True, slots=True)
class Collected:
    """now_ms: the ledger's time; next_ms: how long until more is due."""

    now_ms: int
    next_ms: int
    due: list[Due]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of what a courier takes at once. failing_from: after so many failures in a row a destination gets
    ``failing_room`` tries at a time; last_step: is never skipped."""

    per_lane: int
    per_host: int
    lease_ms: int
    last_step: int
    failing_from: int = 3
    failing_room: int = 2


@dataclass(frozen=True, slots=True)
class Breaker:
    """After ``failures`` in a row, over ``after_ms`` or more, a destination is asked once in ``open_ms``; an
    endpoint that does nothing but fail for ``disable_after_ms`` is disabled."""

    failures: int = 10
    after_ms: int = 60_000
    open_ms: int = 30_000
    disable_after_ms: int = 5 * 86_400_000


@dataclass(frozen=True, slots=True)
class Tried:
    """How a try ended. account: JSON ``{at, status_code, latency_ms, response, error}``; disable: why its endpoint
    is to get no more; released: it was not tried after all."""

    id: str
    attempt: int
    outcome: Literal["delivered", "failed", "exhausted", "again", "skipped", "released"]
    account: bytes = b""
    delay_ms: int = 0
    disable: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is kept of a delivery; ``tries`` are accounts (see ``Tried``), oldest first, the last twenty."""

    id: str
    owner: str
    event: str
    message: str
    subject: str
    endpoint: str
    url: str
    status: str
    created_ms: int
    next_ms: int | None
    tries: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class DeliveryFigures:
    """flying: tries under way; lanes: destinations that something waits for; counters: by outcome, since ever."""

    flying: int
    lanes: int
    counters: dict[str, int]


def to_url(row: OutboxRow) -> NewDelivery:
    """The event on its way to the URL that its subject named."""
    parts = urlsplit(row.url)
    place = f"{row.owner} {parts.scheme}://{parts.netloc}{parts.path}"
    lane = "url_" + hashlib.sha256(place.encode()).hexdigest()[:24]
    return _new(row, "", row.url, lane)


def to_endpoint(row: OutboxRow, endpoint_id: str, url: str) -> NewDelivery:
    return _new(row, endpoint_id, url, endpoint_id)


def _new(row: OutboxRow, endpoint: str, url: str, lane: str) -> NewDelivery:
    message = row.message
    return NewDelivery(
        derived_id("whd", row.at_ms, message, lane), row.owner, row.event, message, row.subject, row.queue, row.type,
        row.run, row.at_ms, endpoint, url, lane, host_of(url), min(row.keep_ms, MOST_KEPT_MS), is_final(row.event),
    )  # fmt: skip


@lru_cache(maxsize=4096)
def host_of(url: str) -> str:
    """The host as the ledger counts tries by it: ``@name:port``."""
    parts = urlsplit(url)
    return f"@{(parts.hostname or '').lower()}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def post(deliveries: Sequence[NewDelivery], secret: str) -> Call[int]:
    """Make deliveries; those that are there already stay as they are. ``secret``: for owners that have none of
    their own."""
    rows = [
        (
            one.id, one.owner, one.event, one.message, one.subject, one.queue, one.type, str(one.run), str(one.at_ms),
            one.endpoint, one.url, one.lane, one.host, str(one.keep_ms), str(int(one.final)),
        )
        for one in deliveries
    ]  # fmt: skip
    return lua("post", [keys.HOOKS], [secret, orjson.dumps(rows)], int)


def collect(most: int, bounds: Bounds) -> Call[Collected]:
    """Take up to ``most`` deliveries that are due; also those whose courier fell silent."""

    def parse(reply: Any) -> Collected:
        now, next_ms, *rows = reply
        return Collected(int(now), next_ms, [_due(row) for row in rows])

    args = [
        most, bounds.per_lane, bounds.per_host, bounds.lease_ms, bounds.last_step, bounds.failing_from,
        bounds.failing_room,
    ]  # fmt: skip
    return lua("collect", [keys.HOOKS], args, parse)


def _due(row: Sequence[Any]) -> Due:
    delivery_id, attempt, skip, secrets, owner, event, message, subject, queue, kind, run, at, url, step = row
    return Due(
        delivery_id.decode(), attempt, skip == 1, tuple(secrets.decode().split()), owner.decode(), event.decode(),
        message.decode(), subject.decode(), queue.decode(), kind.decode(), int(run), int(at), url.decode(), int(step),
    )  # fmt: skip


def record(tried: Sequence[Tried], breaker: Breaker) -> Call[list[str]]:
    """Per try ``recorded``, or ``stale`` when the delivery had been taken over (nothing changed)."""
    args: list[Any] = [breaker.failures, breaker.after_ms, breaker.open_ms, breaker.disable_after_ms]
    for one in tried:
        args += (one.id, one.attempt, one.outcome, one.delay_ms, one.account, one.disable)
    return lua("record", [keys.HOOKS], args, lambda reply: [state.decode() for state in reply])


def get_delivery(owner: str, delivery_id: str) -> Call[Delivery | None]:
    """None also where it is another owner's."""
    return _verb(["get", owner, delivery_id], lambda reply: _delivery(delivery_id, reply) if reply else None)


def find_owner(delivery_id: str) -> Call[tuple[str, str] | None]:
    """(owner, endpoint or empty) of a delivery."""
    return Call(
        ("HMGET", keys.hook("delivery", delivery_id), "owner", "endpoint"),
        lambda reply: (reply[0].decode(), reply[1].decode()) if reply[0] else None,
    )


def forget(limit: int = 500) -> Call[int]:
    """Strike deliveries that were kept long enough; gives how many."""
    return _verb(["forget", limit], int)


def figures() -> Call[DeliveryFigures]:
    def parse(reply: Any) -> DeliveryFigures:
        flying, lanes, flat = reply
        counters = {flat[i].decode(): int(flat[i + 1]) for i in range(0, len(flat), 2)}
        return DeliveryFigures(flying, lanes, counters)

    return _verb(["state"], parse)


def recover(owner: str, delivery_ids: Sequence[str], *, whatever: bool = False) -> Call[list[str]]:
    """Make deliveries again, from the first step of the schedule; ``whatever``: also those that were delivered.

    Per id ``again``, ``superseded``, ``disabled``, ``deleted``, ``ignored`` or ``missing``.
    """
    return lua(
        "recover", [keys.HOOKS], [owner, int(whatever), *delivery_ids], lambda reply: [one.decode() for one in reply]
    )  # fmt: skip


async def list_deliveries(
    ledger: AsyncLedger,
    owner: str,
    *,
    limit: int,
    endpoint: str = "",
    before: tuple[int, str] | None = None,
    since_ms: int | None = None,
    keep: Callable[[Delivery], bool] = lambda one: True,
) -> tuple[list[Delivery], tuple[int, str] | None]:
    """An owner's deliveries (to one endpoint, if said), newest first, after the one with (created, id) ``before``;
    and where the next page begins. A filter that matches little is looked for in at most 10,000 deliveries a
    call."""
    found: list[Delivery] = []
    offset = 0
    newest = "+inf" if before is None else before[0]
    last = before
    for _ in range(_MOST_PAGES):
        rows = await ledger.run(_verb(["list", owner, endpoint, newest, _PAGE, offset], _many))
        for row in rows:
            place = (row.created_ms, row.id)
            if since_ms is not None and row.created_ms < since_ms:
                return found, None
            if row.owner == owner and (before is None or place < before):
                if len(found) == limit:
                    return found, last
                last = place
                if keep(row):
                    found.append(row)
        offset += len(rows)
        if len(rows) < _PAGE:
            return found, None
    return found, last


def _verb(args: Sequence[Any], parse: Callable[[Any], Any]) -> Call[Any]:
    return lua("delivery", [keys.HOOKS], args, parse)


def _many(reply: Any) -> list[Delivery]:
    return [_delivery(row[0].decode(), row[1]) for row in reply if row[1]]


def _delivery(delivery_id: str, flat: Sequence[bytes]) -> Delivery:
    raw = {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}
    text = {
        name: raw[name].decode()
        for name in ("owner", "event", "message", "subject", "endpoint", "url", "status")
    }
    count = int(raw["tries"])
    tries = tuple(raw[f"t{n}"] for n in range(1, count + 1) if f"t{n}" in raw)
    next_ms = int(raw["next"]) if "next" in raw else None
    return Delivery(id=delivery_id, created_ms=int(raw["created"]), next_ms=next_ms, tries=tries, **text)
