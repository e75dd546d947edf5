"""The records of files (their contents lie in the object store, see ``callboard_shared.files``)."""

from __future__ import annotations

from typing import Any

from callboard_shared.files import FileRecord, QuotaReached
from callboard_shared.ledger import keys
from callboard_shared.ledger.client import AsyncLedger, Call, lua

_KEYS = [keys.FILE_RECORDS, keys.FILES_OWNED, keys.FILES_EXPIRY, keys.FILES_BYTES]


def put_file(record: FileRecord, quota: int | None = None) -> Call[QuotaReached | None]:
    """Put a file on record. The answer says why not, if its owner may not have as many bytes."""
    expires = "" if record.expires_ms is None else record.expires_ms
    limit = "" if quota is None else quota
    args = [
        "put",
        record.id,
        record.owner,
        record.created_ms,
        expires,
        record.to_json(),
        record.bytes,
        limit,
    ]
    return lua(
        "file", _KEYS, args, lambda stored: None if stored < 0 else QuotaReached.of(quota or 0, stored)
    )


def stored_bytes(owner: str) -> Call[int]:
    """Of all files of an owner: uploads, what jobs made, models, checkpoints, and uploads on their way."""
    return Call(("HGET", keys.FILES_BYTES, owner), lambda reply: int(reply or 0))


def get_file(file_id: str) -> Call[FileRecord | None]:
    return Call(("GET", keys.FILE_RECORDS + file_id), lambda raw: FileRecord.from_json(raw) if raw else None)


def delete_file(file_id: str, owner: str) -> Call[bool]:
    return lua("file", _KEYS, ["delete", file_id, owner], bool)


def expired_files(limit: int = 100) -> Call[list[FileRecord]]:
    """Records past their ``expires_ms``, by the ledger's clock."""
    return lua("file", _KEYS, ["expired", limit], _records)


def _records(reply: Any) -> list[FileRecord]:
    return [FileRecord.from_json(raw) for raw in reply]


async def list_files(
    ledger: AsyncLedger, owner: str, *, limit: int, before: tuple[int, str] | None = None
) -> tuple[list[FileRecord], tuple[int, str] | None]:
    """An owner's files, newest first, after the one with (created, id) ``before``; and where the next page begins."""
    found: list[FileRecord] = []
    offset, page = 0, limit + 1
    while len(found) <= limit:
        newest = "+inf" if before is None else before[0]
        rows = await ledger.run(lua("file", _KEYS, ["list", owner, newest, page, offset], _records))
        found += [row for row in rows if before is None or (row.created_ms, row.id) < before]
        offset += len(rows)
        if len(rows) < page:
            break
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], (last.created_ms, last.id)
