"""Files: contents in an object store, and what is known of each.

    Files / AsyncFiles      what workers / the gateway use: store a content, read it, remove it
        └── ObjectStore     the interface: begin, open, delete, contents
              ├── LocalStore    a folder that gateway and workers share
              └── S3Store       a bucket

A file's *record* (``FileRecord``) belongs to the ledger; a content has no effect until its record is put there.
"""

from __future__ import annotations

import asyncio
import builtins
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from pydantic import Field

from callboard_shared.errors import CallboardError
from callboard_shared.file_names import clean_name
from callboard_shared.ids import new_id
from callboard_shared.lenient import known
from callboard_shared.media_types import Sniffer
from callboard_shared.object_store import LocalStore, ObjectStore, StorageFull, Upload
from callboard_shared.settings import FileSettings, Settings

__all__ = [
    "AsyncDraft", "AsyncFiles", "Draft", "FileRecord", "Files", "LocalStore", "ObjectStore", "QuotaReached",
    "StorageFull", "UploadSettings", "configured_store",
]  # fmt: skip

READ_BYTES = 256 * 1024
WRITE_BYTES = 1024 * 1024


class UploadSettings(Settings):
    """What may be stored."""

    max_file_bytes: int = Field(default=2 * 1024**3, gt=0, description="Largest file that may be uploaded.")
    max_stored_bytes: int = Field(
        default=100 * 1024**3, gt=0, description="Bytes of files that one key may have stored."
    )


class QuotaReached(CallboardError):
    """The key has stored as much as it may; nothing was stored. Delete files."""

    code = "storage-full"
    title = "The key's storage is full"
    status = 507

    @classmethod
    def of(cls, quota: int, stored: int) -> QuotaReached:
        detail = (
            f"Files of this key may have {quota:,} bytes together, and have {stored:,}. Delete some, also with jobs "
            "and models that are no longer needed, or ask the operator for more (CALLBOARD_MAX_STORED_BYTES)."
        )
        return cls(detail, members={"quota_bytes": quota, "stored_bytes": stored})


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What the ledger knows of a file. Times are milliseconds since 1970; ``owner`` is an API key's id.

    ``held_by``: what the file is a part of ("a model"), and goes with.
    """

    id: str
    owner: str
    name: str
    media_type: str
    bytes: int
    sha256: str
    purpose: str | None
    created_ms: int
    expires_ms: int | None = None
    job_id: str | None = None
    held_by: str | None = None

    def to_json(self) -> builtins.bytes:
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: builtins.bytes | str) -> FileRecord:
        return cls(**known(cls, json.loads(data)))

    @property
    def url(self) -> str:
        return f"/v1/files/{self.id}/content"

    def view(self) -> dict[str, Any]:
        """The API's file object."""
        return {
            "id": self.id,
            "name": self.name,
            "media_type": self.media_type,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "purpose": self.purpose,
            "created_at": _rfc3339(self.created_ms),
            "expires_at": _rfc3339(self.expires_ms),
            "url": self.url,
        }

    def reference(self) -> dict[str, Any]:
        """How a job's output names the file."""
        return {
            "file_id": self.id,
            "media_type": self.media_type,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "url": self.url,
        }


class Draft:
    """A file being written: counts, hashes and sniffs; ``finish`` gives its record."""

    def __init__(self, upload: Upload, record: FileRecord) -> None:
        self._upload, self._record, self._sniffer = upload, record, Sniffer()

    def write(self, chunk: bytes) -> None:
        self._upload.write(chunk)
        self._sniffer.feed(chunk)

    def finish(self, media_type: str | None = None, **changes: Any) -> FileRecord:
        """Commit; ``media_type`` overrides what the bytes say, ``changes`` other fields of the record."""
        stored = self._upload.commit()
        record = replace(self._record, bytes=stored.bytes, sha256=stored.sha256, **changes)
        return replace(record, media_type=media_type or self._sniffer.media_type(record.name))

    def __enter__(self) -> Self:
        self._upload.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._upload.__exit__(kind, error, trace)


class Files:
    """The object store for workers: blocking, contents from memory or in pieces."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    def draft(
        self,
        owner: str,
        name: str,
        *,
        purpose: str | None = None,
        job_id: str | None = None,
        expires_ms: int | None = None,
        held_by: str | None = None,
        limit: int | None = None,
        file_id: str | None = None,
    ) -> Draft:
        """A new file to write in a ``with`` block; discarded unless ``finish`` is called. ``file_id``: the id that it
        is to have; written again, it is replaced."""
        file_id = file_id or new_id("file")
        now_ms = time.time_ns() // 1_000_000
        record = FileRecord(
            file_id, owner, clean_name(name), "", 0, "", purpose, now_ms, expires_ms, job_id, held_by
        )
        return Draft(self.store.begin(file_id, limit), record)

    def put_bytes(
        self, owner: str, name: str, data: bytes, media_type: str | None = None, **fields: Any
    ) -> FileRecord:
        """Store ``data``; ``fields`` as of ``draft``. The record is the caller's to put into the ledger."""
        return self.put_stream(owner, name, [data], media_type, **fields)

    def put_stream(
        self, owner: str, name: str, chunks: Iterable[bytes], media_type: str | None = None, **fields: Any
    ) -> FileRecord:
        with self.draft(owner, name, **fields) as draft:
            for chunk in chunks:
                draft.write(chunk)
            return draft.finish(media_type)

    def get_bytes(self, file_id: str) -> bytes:
        with self.store.open(file_id) as content:
            return content.read()

    def read(self, file_id: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start``, at most ``length`` of them, in pieces of 256 KiB."""
        with self.store.open(file_id) as content:
            content.seek(start)
            while piece := content.read(READ_BYTES if length is None else min(READ_BYTES, length)):
                yield piece
                if length is not None:
                    length -= len(piece)

    def delete(self, file_id: str) -> bool:
        return self.store.delete(file_id)


class AsyncFiles:
    """The object store for the gateway: every touch of the disk happens in a thread."""

    def __init__(self, store: ObjectStore) -> None:
        self.files = Files(store)

    async def put(self, owner: str, name: str, chunks: AsyncIterator[bytes], **fields: Any) -> FileRecord:
        """Store what arrives, in writes of about 1 MiB; ``fields`` as of ``Files.draft``."""
        async with self.draft(owner, name, **fields) as draft:
            async for chunk in chunks:
                await draft.write(chunk)
            return await draft.finish()

    def draft(self, owner: str, name: str, **fields: Any) -> AsyncDraft:
        return AsyncDraft(self.files.draft(owner, name, **fields))

    async def read(self, file_id: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        content = await asyncio.to_thread(self.files.store.open, file_id)
        try:
            await asyncio.to_thread(content.seek, start)
            while length is None or length > 0:
                size = READ_BYTES if length is None else min(READ_BYTES, length)
                if not (piece := await asyncio.to_thread(content.read, size)):
                    return
                yield piece
                if length is not None:
                    length -= len(piece)
        finally:
            content.close()

    async def delete(self, file_id: str) -> bool:
        return await asyncio.to_thread(self.files.store.delete, file_id)


class AsyncDraft:
    """``Draft`` with its writes gathered, so that small chunks do not each cost a change of threads."""

    def __init__(self, draft: Draft) -> None:
        self._draft, self._waiting = draft, bytearray()

    async def write(self, chunk: bytes) -> None:
        self._waiting += chunk
        if len(self._waiting) >= WRITE_BYTES:
            await self._flush()

    async def finish(self, **changes: Any) -> FileRecord:
        await self._flush()
        return await asyncio.to_thread(self._draft.finish, **changes)

    async def _flush(self) -> None:
        chunk, self._waiting = bytes(self._waiting), bytearray()
        await asyncio.to_thread(self._draft.write, chunk)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._draft.__enter__)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self._draft.__exit__, kind, error, trace))


def configured_store(settings: FileSettings | None = None) -> ObjectStore:
    """The store that the settings name."""
    settings = settings or FileSettings()
    if settings.files_url is None:
        return LocalStore(settings.files_path)
    from callboard_shared.s3_store import S3Store

    return S3Store.at(settings.files_url)


def _rfc3339(ms: int | None) -> str | None:
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
