"""Registered webhook endpoints, and the secrets that sign what is posted. A secret must be readable to sign with it: it
lies in the ledger as it is, and is in no log, list or view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from callboard_shared.errors import LedgerError
from callboard_shared.ledger import keys
from callboard_shared.ledger.client import AsyncLedger, Call, Ledger, lua
from callboard_shared.ledger.deliveries import host_of
from callboard_shared.ledger.outbox import subscribe
from callboard_shared.webhooks import ENDINGS, OVERLAP_MS


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``events``: those it asks for; every ending, also of kinds to come, if there are none."""

    id: str
    owner: str
    url: str
    events: tuple[str, ...]
    description: str
    created_ms: int
    updated_ms: int
    disabled_ms: int | None = None
    disabled_reason: str | None = None

    @property
    def told(self) -> tuple[str, ...]:
        return self.events or ENDINGS

    @property
    def enabled(self) -> bool:
        return self.disabled_ms is None


@dataclass(frozen=True, slots=True)
class Endpoints:
    """All of an owner's, newest first, as the change numbered ``revision`` left them."""

    owner: str
    revision: int
    all: tuple[Endpoint, ...]

    def find(self, endpoint_id: str) -> Endpoint | None:
        return next((one for one in self.all if one.id == endpoint_id), None)

    @property
    def events(self) -> str:
        """What any of them asks for; also of disabled ones, whose events are kept to be recovered."""
        return ",".join(sorted({event for one in self.all for event in one.told}))


def create_endpoint(
    owner: str, endpoint_id: str, *, url: str, events: Sequence[str], description: str, secret: str, most: int
) -> Call[Endpoints | None]:
    """None when the owner has ``most`` already."""
    args = ["create", owner, endpoint_id, most, url, host_of(url), ",".join(events), description, secret]
    return _verb(owner, args)


def list_endpoints(owner: str) -> Call[Endpoints]:
    return _verb(owner, ["list", owner])


def change_endpoint(owner: str, endpoint_id: str, fields: Mapping[str, str]) -> Call[Endpoints | None]:
    """Set ``url``, ``events`` (comma-separated) or ``description``. None if there is no such endpoint."""
    changed = dict(fields)
    if "url" in changed:
        changed["host"] = host_of(changed["url"])
    return _verb(owner, ["change", owner, endpoint_id, *(part for pair in changed.items() for part in pair)])


def enable_endpoint(owner: str, endpoint_id: str) -> Call[Endpoints | None]:
    return _verb(owner, ["enable", owner, endpoint_id])


def disable_endpoint(owner: str, endpoint_id: str, reason: str) -> Call[Endpoints | None]:
    return _verb(owner, ["disable", owner, endpoint_id, reason])


def remove_endpoint(owner: str, endpoint_id: str) -> Call[Endpoints | None]:
    """What was to go there ends as failed."""
    return _verb(owner, ["remove", owner, endpoint_id])


def rotate_secret(
    owner: str, endpoint_id: str, secret: str, keep_ms: int = OVERLAP_MS
) -> Call[Endpoints | None]:
    """The secret before signs too, for ``keep_ms``."""
    return _verb(owner, ["rotate", owner, endpoint_id, secret, keep_ms])


def endpoint_secrets(owner: str, endpoint_id: str) -> Call[list[str]]:
    """The secret, then those that still sign beside it; none if there is no such endpoint."""
    return lua("endpoint", [keys.HOOKS], ["secrets", owner, endpoint_id], _secrets)


def own_secrets(owner: str, candidate: str) -> Call[list[str]]:
    """What signs what goes to the URLs of the owner's jobs; ``candidate`` becomes the secret if there was none."""
    return lua("endpoint", [keys.HOOKS], ["own", owner, candidate], _secrets)


def rotate_own_secret(owner: str, secret: str, keep_ms: int = OVERLAP_MS) -> Call[list[str]]:
    return lua("endpoint", [keys.HOOKS], ["rotate-own", owner, secret, keep_ms], _secrets)


def owners_with_endpoints() -> Call[list[str]]:
    return Call(("HKEYS", keys.hook("revisions")), lambda reply: [one.decode() for one in reply])


async def publish(ledger: AsyncLedger, queues: Sequence[str], endpoints: Endpoints) -> None:
    """Let the outboxes of these queues tell of what the endpoints ask for. Raises LedgerError."""
    _raise_first(await ledger.run_many(_subscriptions(queues, endpoints)))


def publish_again(ledger: Ledger, queues: Sequence[str]) -> None:
    """The same for everybody, in case a gateway died between a change and its publication."""
    for owner in ledger.run(owners_with_endpoints()):
        _raise_first(ledger.run_many(_subscriptions(queues, ledger.run(list_endpoints(owner)))))


def _subscriptions(queues: Sequence[str], endpoints: Endpoints) -> list[Call[int]]:
    return [subscribe(queue, endpoints.owner, endpoints.revision, endpoints.events) for queue in queues]


def _raise_first(replies: Sequence[Any]) -> None:
    for reply in replies:
        if isinstance(reply, LedgerError):
            raise reply


def _verb(owner: str, args: Sequence[Any]) -> Call[Any]:
    def parse(reply: Any) -> Endpoints | None:
        if not reply:
            return None
        revision, *rows = reply
        return Endpoints(owner, int(revision), tuple(_endpoint(one.decode(), flat) for one, flat in rows))

    return lua("endpoint", [keys.HOOKS], args, parse)


def _endpoint(endpoint_id: str, flat: Sequence[bytes]) -> Endpoint:
    raw = {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}
    return Endpoint(
        endpoint_id, raw["owner"], raw["url"], tuple(filter(None, raw["events"].split(","))), raw["description"],
        int(raw["created"]), int(raw["updated"]), int(raw["disabled_at"]) if "disabled_at" in raw else None,
        raw.get("disabled_reason"),
    )  # fmt: skip


def _secrets(reply: Any) -> list[str]:
    return reply.decode().split() if reply else []
