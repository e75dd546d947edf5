"""Large files in parts: each piece that arrives is kept as a content, and the last one makes a file of them.

A connection may break in any piece: what had arrived of it counts. Any gateway goes on with any upload.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from starlette.requests import ClientDisconnect

from callboard_shared.errors import CallboardError, Conflict, Malformed, NotFound, TooLarge
from callboard_shared.files import AsyncFiles, FileRecord, QuotaReached
from callboard_shared.ids import is_id, new_id
from callboard_shared.ledger import AsyncLedger, filing, uploading
from callboard_shared.ledger.uploading import PART_OF, PartialUpload

ALGORITHMS = ("sha1", "sha256")
MOST_PARTS = 10_000


class ChecksumMismatch(CallboardError):
    code = "checksum-mismatch"
    title = "The piece is not what its checksum says"
    status = 460
    retryable = True


class Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a piece must hash to."""

    algorithm: str
    digest: bytes

    @classmethod
    def parse(cls, header: str) -> Checksum:
        """``ALGORITHM BASE64``. Raises Malformed."""
        algorithm, _, text = header.strip().partition(" ")
        if algorithm not in ALGORITHMS:
            raise Malformed(f"Upload-Checksum: there are {', '.join(ALGORITHMS)}.")
        try:
            return cls(algorithm, base64.b64decode(text, validate=True))
        except ValueError:  # also of letters beyond ASCII
            raise Malformed("Upload-Checksum: what follows the algorithm is not base64.") from None


class Uploads:
    """quota: bytes of files that one key may have stored. finishing: what is being put together in this process."""

    def __init__(
        self, ledger: AsyncLedger, files: AsyncFiles, quota: int, finishing: dict[str, asyncio.Task[str]]
    ) -> None:
        self._ledger, self._files, self._quota, self._finishing = ledger, files, quota, finishing

    async def begin(
        self, owner: str, size: int, name: str, purpose: str | None, metadata: str
    ) -> PartialUpload:
        """Announce a file of ``size`` bytes. Raises QuotaReached."""
        now_ms = time.time_ns() // 1_000_000
        upload = PartialUpload(
            new_id("upload"), owner, name, purpose, metadata, size, 0, (), None, now_ms, now_ms + uploading.TTL_MS
        )  # fmt: skip
        refused = await self._ledger.run(uploading.begin(upload, self._quota))
        if refused is not None:
            raise refused
        return await self.whole(upload)

    async def find(self, owner: str, upload_id: str) -> PartialUpload:
        """The owner's upload. Raises NotFound, also for another owner's."""
        found = await self._ledger.run(uploading.find(upload_id)) if is_id(upload_id, "upload") else None
        if found is None or found.owner != owner:
            raise NotFound("There is no such upload. One of which nothing came for a day is gone.")
        return found

    async def take(
        self, upload: PartialUpload, offset: int, chunks: AsyncIterator[bytes], checksum: Checksum | None
    ) -> PartialUpload:
        """Add the piece that begins at ``offset``; of one that breaks off, what came (if it has no checksum).

        Raises Conflict for another offset than the upload's, TooLarge, ChecksumMismatch, QuotaReached.
        """
        if offset != upload.offset:
            raise _elsewhere(upload.offset)
        if len(upload.parts) >= MOST_PARTS:
            raise TooLarge(f"An upload has at most {MOST_PARTS:,} pieces; send larger ones.")
        if upload.offset < upload.bytes:
            part, broken = await self._keep(upload, chunks, checksum)
            if part is not None:
                await self._append(upload, part)
            if broken:
                raise Malformed("The connection ended before the piece did; what had come is kept.")
        return await self.whole(await self.find(upload.owner, upload.id))

    async def whole(self, upload: PartialUpload) -> PartialUpload:
        """The same, as a file if all of it is there: after the last piece, or when it is asked for after a crash."""
        if upload.file_id is not None or upload.offset < upload.bytes:
            return upload
        task = self._finishing.get(upload.id)
        if task is None:
            task = self._finishing[upload.id] = asyncio.create_task(self._finish(upload), name="upload")
            task.add_done_callback(lambda _: self._finishing.pop(upload.id, None))
        await asyncio.shield(task)  # a client that hangs up now does not have it begun again
        return await self.find(upload.owner, upload.id)

    async def remove(self, upload: PartialUpload) -> None:
        """Forget an upload and what came of it; a file that it has become stays."""
        for part in await self._ledger.run(uploading.remove(upload.id)) or ():
            await self._files.delete(part)

    async def _keep(
        self, upload: PartialUpload, chunks: AsyncIterator[bytes], checksum: Checksum | None
    ) -> tuple[FileRecord | None, bool]:
        """Store a piece; its record, if there is something of it, and whether it broke off."""
        digest: Digest | None = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
        left, broken = upload.bytes - upload.offset, False
        fields: dict[str, Any] = {"purpose": upload.purpose, "held_by": PART_OF, "limit": left}
        async with self._files.draft(upload.owner, upload.name, **fields) as draft:
            size = 0
            try:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > left:
                        raise TooLarge(f"The upload was announced with {upload.bytes:,} bytes; this is more.")
                    if digest is not None:
                        digest.update(chunk)
                    await draft.write(chunk)
            except ClientDisconnect:
                broken = True
            if size == 0 or (broken and checksum is not None):
                return None, broken
            if checksum is not None and digest is not None and digest.digest() != checksum.digest:
                raise ChecksumMismatch(
                    "The piece was damaged on the way; send it again from the same offset."
                )
            return await draft.finish(), broken

    async def _append(self, upload: PartialUpload, part: FileRecord) -> None:
        try:
            came = await self._ledger.run(uploading.append(upload.id, upload.offset, part, self._quota))
        except CallboardError:
            await self._files.delete(part.id)
            raise
        if isinstance(came, int):
            return
        await self._files.delete(part.id)
        if came == "full":
            raise QuotaReached.of(self._quota, await self._ledger.run(filing.stored_bytes(upload.owner)))
        raise _elsewhere((await self.find(upload.owner, upload.id)).offset)

    async def _finish(self, upload: PartialUpload) -> str:
        record = await self._assembled(upload)
        copied = record.id not in upload.parts
        done = None
        try:
            done = await self._ledger.run(uploading.finish(upload.id, record))
        finally:
            if copied and (done is None or done[0] != record.id):  # not on record, or not this one
                await self._files.delete(record.id)
        if done is None:
            raise NotFound("The upload was removed while it was put together.")
        for part in done[1]:
            await self._files.delete(part)
        return done[0]

    async def _assembled(self, upload: PartialUpload) -> FileRecord:
        """One content of the parts; of a single one, that itself."""
        if len(upload.parts) == 1:
            part = await self._ledger.run(filing.get_file(upload.parts[0]))
            if part is None:
                raise NotFound("A part of the upload is gone; begin it anew.")
            return replace(part, held_by=None)
        async with self._files.draft(upload.owner, upload.name, purpose=upload.purpose) as draft:
            for part_id in upload.parts:
                async for piece in self._files.read(part_id):
                    await draft.write(piece)
            return await draft.finish()


def _elsewhere(offset: int) -> Conflict:
    return Conflict(f"The upload is at offset {offset}: go on there.", code="upload-offset")
