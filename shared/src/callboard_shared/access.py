"""Who may do what: API keys, console sessions and one-time sign-in tickets.

A key is 256 random bits behind a readable prefix and is stored as its SHA-256; so are sessions and tickets.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

import orjson

from callboard_shared.ids import new_id
from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call, lua
from callboard_shared.lenient import known

T = TypeVar("T")

SCOPES = ("jobs:write", "jobs:read", "admin")


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What one key may do where that differs from what the gateway's settings say; None: as they say.

    ``running``: jobs at once in each queue (more wait); ``waiting``: jobs not started; ``daily``: by figure (``jobs``,
    ``tokens``, ``characters``) or job type, how much a day (UTC)."""

    requests_per_s: float | None = None
    burst: int | None = None
    running: int | None = None
    waiting: int | None = None
    storage_bytes: int | None = None
    daily: dict[str, int] = field(default_factory=dict)


NO_LIMITS = KeyLimits()


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """``used_ms``: the last use, to some seconds; it is kept beside the record."""

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_ms: int
    expires_ms: int | None = None
    limits: KeyLimits = NO_LIMITS
    used_ms: int | None = field(default=None, compare=False)

    def allows(self, scope: str) -> bool:
        """``admin`` includes the others."""
        return scope in self.scopes or "admin" in self.scopes


def secret_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_secret() -> str:
    """256 random bits, URL-safe."""
    return base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()


def new_key(
    name: str,
    scopes: Sequence[str],
    created_ms: int,
    expires_ms: int | None = None,
    limits: KeyLimits | None = None,
) -> tuple[KeyRecord, str]:
    """A record to keep and the key itself, to be shown once: ``cb_<8 characters>_<43 characters>``."""
    return renewed(
        KeyRecord(new_id("key"), name, "", tuple(scopes), created_ms, expires_ms, limits or NO_LIMITS)
    )


def renewed(record: KeyRecord) -> tuple[KeyRecord, str]:
    """The record with another prefix, and a new key for it."""
    prefix = "cb_" + base64.b32encode(os.urandom(5)).decode().lower()
    return replace(record, prefix=prefix), f"{prefix}_{new_secret()}"


def _read(raw: Any, used: Any = None) -> KeyRecord | None:
    if not raw:
        return None
    fields = orjson.loads(raw)
    limits = KeyLimits(**known(KeyLimits, fields.pop("limits", {})))
    fields = known(KeyRecord, fields) | {
        "scopes": tuple(fields["scopes"]),
        "used_ms": int(used) if used else None,
    }
    return KeyRecord(**fields, limits=limits)


def _pair(reply: Any) -> KeyRecord | None:
    return _read(*reply) if reply else None


def _written(record: KeyRecord) -> bytes:
    fields = asdict(record)
    del fields["used_ms"]
    return orjson.dumps(fields)


def _access(*args: Any, parse: Callable[[Any], T]) -> Call[T]:
    return lua("access", [keys.ACCESS_KEYS, keys.ACCESS_BY_HASH, keys.ACCESS_USED], list(args), parse)


def put_key(record: KeyRecord, secret: str) -> Call[int]:
    return _access("put", record.id, secret_hash(secret), _written(record), parse=int)


def change_key(record: KeyRecord) -> Call[bool]:
    """Write the record anew; False if the key is gone."""
    return _access("change", record.id, _written(record), parse=bool)


def rotate_key(record: KeyRecord, secret: str, grace_ms: int) -> Call[bool]:
    """Give a key another secret; those it had hold on for at most ``grace_ms``. False if the key is gone."""
    return _access("rotate", record.id, secret_hash(secret), _written(record), grace_ms, parse=bool)


def find_key(sha256: str) -> Call[KeyRecord | None]:
    """The key with this secret, which counts as a use of it."""
    return _access("find", sha256, parse=_pair)


def get_key(key_id: str) -> Call[KeyRecord | None]:
    return Call(("HGET", keys.ACCESS_KEYS, key_id), _read)


def last_use(key_id: str) -> Call[int | None]:
    """Its ms; None before the first."""
    return Call(("HGET", keys.ACCESS_USED, key_id), lambda reply: int(reply) if reply else None)


def list_keys() -> Call[list[KeyRecord]]:
    """All keys, newest first."""

    def parse(reply: Any) -> list[KeyRecord]:
        found = [record for pair in reply if (record := _pair(pair))]
        return sorted(found, key=lambda record: record.id, reverse=True)

    return _access("list", parse=parse)


def delete_key(key_id: str) -> Call[bool]:
    return _access("delete", key_id, parse=bool)


def put_ticket(secret: str, key_id: str, ttl_s: int = 600) -> Call[Any]:
    """A one-time ticket that signs in as the key."""
    return Call(("SETEX", keys.ACCESS_TICKET + secret_hash(secret), ttl_s, key_id), bool)


def take_ticket(secret: str) -> Call[str | None]:
    """The key id of a ticket, which is then used up."""
    return Call(("GETDEL", keys.ACCESS_TICKET + secret_hash(secret)), _optional_text)


def put_session(secret: str, key_id: str, ttl_s: int = 43_200) -> Call[Any]:
    return Call(("SETEX", keys.ACCESS_SESSION + secret_hash(secret), ttl_s, key_id), bool)


def get_session(secret: str) -> Call[str | None]:
    return Call(("GET", keys.ACCESS_SESSION + secret_hash(secret)), _optional_text)


def delete_session(secret: str) -> Call[int]:
    return Call(("DEL", keys.ACCESS_SESSION + secret_hash(secret)), int)


def _optional_text(reply: Any) -> str | None:
    return reply.decode() if reply else None
