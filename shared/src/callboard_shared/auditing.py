"""The audit log: what admins did. The ledger keeps the last ten thousand acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call
from callboard_shared.lenient import known

_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Act:
    """``id``: of the ledger's stream, which sorts by time; ``act``: ``key.created``, ``queue.paused``, …; ``by``: the
    id of the admin's key; ``of``: what it was done to."""

    id: str
    at_ms: int
    act: str
    by: str
    of: str
    detail: Mapping[str, Any]


def record(act: str, by: str, of: str, detail: Mapping[str, Any] | None = None) -> Call[Any]:
    fields = ("act", act, "by", by, "of", of, "detail", orjson.dumps(detail or {}))
    return Call(("XADD", keys.ACCESS_AUDIT, "MAXLEN", "~", _KEPT, "*", *fields), bool)


def acts(limit: int, before: str | None = None) -> Call[list[Act]]:
    """Newest first; ``before``: the id of the last one seen."""

    def parse(reply: Any) -> list[Act]:
        return [_act(entry, fields) for entry, fields in reply or ()]

    newest = f"({before}" if before else "+"
    return Call(("XREVRANGE", keys.ACCESS_AUDIT, newest, "-", "COUNT", limit), parse)


def _act(entry: bytes, flat: Any) -> Act:
    fields = dict(zip(flat[::2], flat[1::2], strict=True)) if isinstance(flat, list) else flat
    text = {name.decode(): value.decode() for name, value in fields.items() if name != b"detail"}
    return Act(
        entry.decode(), int(entry.split(b"-")[0]), detail=orjson.loads(fields[b"detail"]), **known(Act, text)
    )
