"""Who may do what: API keys, console sessions and one-time sign-in tickets.

A key is 256 random bits behind a readable prefix and is stored as its SHA-256; so are sessions and tickets.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from callboard_shared.ids import new_id
from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call, lua

SCOPES = ("jobs:write", "jobs:read", "admin")


@dataclass(frozen=True, slots=True)
class KeyRecord:
    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_ms: int
    expires_ms: int | None = None

    def allows(self, scope: str) -> bool:
        """``admin`` includes the others."""
        return scope in self.scopes or "admin" in self.scopes


def secret_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_secret() -> str:
    """256 random bits, URL-safe."""
    return base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()


def new_key(
    name: str, scopes: Sequence[str], created_ms: int, expires_ms: int | None = None
) -> tuple[KeyRecord, str]:
    """A record to keep and the key itself, to be shown once: ``cb_<8 characters>_<43 characters>``."""
    prefix = "cb_" + base64.b32encode(os.urandom(5)).decode().lower()
    record = KeyRecord(new_id("key"), name, prefix, tuple(scopes), created_ms, expires_ms)
    return record, f"{prefix}_{new_secret()}"


def _record(raw: Any) -> KeyRecord | None:
    if not raw:
        return None
    fields = orjson.loads(raw)
    return KeyRecord(**{**fields, "scopes": tuple(fields["scopes"])})


def put_key(record: KeyRecord, secret: str) -> Call[int]:
    args = ["put", record.id, secret_hash(secret), orjson.dumps(asdict(record))]
    return lua("access", [keys.ACCESS_KEYS, keys.ACCESS_BY_HASH], args, int)


def find_key(sha256: str) -> Call[KeyRecord | None]:
    return lua("access", [keys.ACCESS_KEYS, keys.ACCESS_BY_HASH], ["find", sha256], _record)


def get_key(key_id: str) -> Call[KeyRecord | None]:
    return Call(("HGET", keys.ACCESS_KEYS, key_id), _record)


def list_keys() -> Call[list[KeyRecord]]:
    """All keys, newest first."""

    def parse(reply: Any) -> list[KeyRecord]:
        found = [record for raw in reply if (record := _record(raw))]
        return sorted(found, key=lambda record: record.id, reverse=True)

    return lua("access", [keys.ACCESS_KEYS, keys.ACCESS_BY_HASH], ["list"], parse)


def delete_key(key_id: str) -> Call[bool]:
    return lua("access", [keys.ACCESS_KEYS, keys.ACCESS_BY_HASH], ["delete", key_id], bool)


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
