"""The records of files (their contents lie in the object store, see ``callboard_shared.files``)."""

from __future__ import annotations

from typing import Any

from callboard_shared.files import FileRecord
from callboard_shared.ledger import keys
from callboard_shared.ledger.client import AsyncLedger, Call, lua

_KEYS = [keys.FILE_RECORDS, keys.FILES_OWNED, keys.FILES_EXPIRY]


def put_file(record: FileRecord) -> Call[int]:
    expires = "" if record.expires_ms is None else record.expires_ms
    return lua(
        "file", _KEYS, ["put", record.id, record.owner, record.created_ms, expires, record.to_json()], int
    )


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
