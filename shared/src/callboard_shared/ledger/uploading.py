"""Uploads that arrive in parts and may be interrupted: what of them is there, until it becomes a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from callboard_shared.files import FileRecord, QuotaReached
from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call, lua

TTL_MS = 24 * 3600 * 1000
"""An upload of which nothing more comes goes after this, with its parts."""
PART_OF = "an upload"
"""What a part's record says it is held by."""
_KEYS = [keys.FILE_RECORDS, keys.FILES_OWNED, keys.FILES_EXPIRY, keys.FILES_BYTES, keys.UPLOADS]


@dataclass(frozen=True, slots=True)
class PartialUpload:
    """bytes: of the whole; offset: how many are there, in ``parts`` (ids of contents); file_id: what became of it.

    metadata: as the client gave it.
    """

    id: str
    owner: str
    name: str
    purpose: str | None
    metadata: str
    bytes: int
    offset: int
    parts: tuple[str, ...]
    file_id: str | None
    created_ms: int
    expires_ms: int


def begin(upload: PartialUpload, quota: int) -> Call[QuotaReached | None]:
    """Announce an upload. The answer says why not, if its owner may not have as many bytes."""
    args = [
        "begin", upload.id, TTL_MS, upload.owner, upload.bytes, quota, "name", upload.name, "purpose",
        upload.purpose or "", "metadata", upload.metadata, "created", upload.created_ms,
    ]  # fmt: skip
    return lua("upload", _KEYS, args, lambda stored: None if stored < 0 else QuotaReached.of(quota, stored))


def find(upload_id: str) -> Call[PartialUpload | None]:
    def parse(reply: Any) -> PartialUpload | None:
        pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
        raw = {name.decode(): value.decode() for name, value in pairs}
        if "owner" not in raw:
            return None
        return PartialUpload(
            upload_id, raw["owner"], raw["name"], raw["purpose"] or None, raw["metadata"], int(raw["bytes"]),
            int(raw["offset"]), tuple(raw["parts"].split()), raw["file"] or None, int(raw["created"]),
            int(raw["expires"]),
        )  # fmt: skip

    return Call(("HGETALL", keys.UPLOADS + upload_id), parse)


def append(
    upload_id: str, offset: int, part: FileRecord, quota: int
) -> Call[int | Literal["gone", "elsewhere", "full"]]:
    """Add a part that begins at ``offset``: where the next one begins, or why it does not count."""
    refusals: dict[int, Literal["gone", "elsewhere", "full"]] = {-1: "gone", -2: "elsewhere", -3: "full"}
    args = ["append", upload_id, TTL_MS, offset, part.id, part.bytes, quota, part.to_json()]
    return lua("upload", _KEYS, args, lambda reply: refusals.get(reply, reply))


def finish(upload_id: str, file: FileRecord) -> Call[tuple[str, tuple[str, ...]] | None]:
    """Let the file take the place of the parts; it may be one of them. Gives its id and the parts, whose contents
    are the caller's to delete; if it was finished before, the id of that time and none. None: no such upload."""

    def parse(reply: Any) -> tuple[str, tuple[str, ...]] | None:
        how, text = reply[0], reply[1].decode()
        if how == 2:
            return None
        return (text, ()) if how == 1 else (file.id, tuple(part for part in text.split() if part != file.id))

    args = ["finish", upload_id, TTL_MS, file.id, file.created_ms, file.bytes, file.to_json()]
    return lua("upload", _KEYS, args, parse)


def remove(upload_id: str) -> Call[tuple[str, ...] | None]:
    """Forget an upload: its parts, whose contents are the caller's to delete. None: no such upload."""
    return lua(
        "upload",
        _KEYS,
        ["remove", upload_id],
        lambda reply: None if reply is None else tuple(reply.decode().split()),
    )
