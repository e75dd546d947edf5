"""Where contents lie, by file id: the interface, and the folder that is its default (S3: ``s3_store``).

A content is there whole or not at all. Its *record* belongs to the ledger; a content without one has no effect, and
the courier's sweep removes it in the end.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from callboard_shared.errors import CallboardError, NotFound, TooLarge
from callboard_shared.ids import is_id

HOLD_LAPSES_S = 3600.0
"""A hold that its backup has not renewed for so long is that of one that was killed."""


class StorageFull(CallboardError):
    """The disk of the object store has no room; nothing was stored. Free some, or delete files."""

    code = "storage-full"
    title = "The object store is full"
    status = 507
    retryable = True


class StorageAway(CallboardError):
    """The object store does not answer, or refuses; nothing was stored. Try again shortly."""

    code = "storage-unavailable"
    title = "The object store does not answer"
    status = 503
    retryable = True


@dataclass(frozen=True, slots=True)
class Stored:
    """What was counted while a content was written."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Content:
    """A content that is stored. place: where to go on listing; modified_s: since 1970."""

    file_id: str
    place: str
    modified_s: float


def place_of(file_id: str) -> str:
    """The path of a content below its store: under the last two characters of its id, the random part of it. Raises
    NotFound for what is no id, so that no name of a user's becomes a path."""
    if not is_id(file_id, "file"):
        raise NotFound(f"There is no file {file_id[:40]!r}.")
    return f"{file_id[-2:]}/{file_id}"


class Upload(Protocol):
    """A content on its way into the store. Leaving the ``with`` block without ``commit`` discards it."""

    def write(self, chunk: bytes) -> None: ...
    def commit(self) -> Stored: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ObjectStore(Protocol):
    """Contents by file id. ``open`` raises ``NotFound`` where there is none."""

    def begin(self, file_id: str, limit: int | None = None) -> Upload:
        """Start writing; more than ``limit`` bytes raise ``TooLarge``, a full disk ``StorageFull``."""

    def open(self, file_id: str) -> BinaryIO: ...

    def delete(self, file_id: str) -> bool:
        """Whether there was something to delete."""

    def contents(self, after: str = "") -> Iterator[Content]:
        """What there is behind the place ``after``, by place."""

    def remove_partials(self, older_than_s: float = 86_400) -> int:
        """Remove what killed uploads have left; returns how many."""


class LocalStore:
    """A folder that gateway and workers share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, file_id: str, limit: int | None = None) -> LocalUpload:
        return LocalUpload(self.path(file_id), limit)

    def open(self, file_id: str) -> BinaryIO:
        try:
            return self.path(file_id).open("rb")
        except FileNotFoundError:
            raise NotFound(f"There is no content of {file_id}.") from None

    def delete(self, file_id: str) -> bool:
        """Whether there was something to delete. While a backup is made the content is put aside instead, for it."""
        path = self.path(file_id)
        try:
            path.rename(self.held / place_of(file_id))
        except FileNotFoundError:  # nothing is held, or the content is not there
            try:
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    @property
    def held(self) -> Path:
        """Where what is deleted is put while this folder exists, with a folder in it for each first part of a place."""
        return self.folder / ".held"

    def path(self, file_id: str) -> Path:
        """Where the content lies or would lie."""
        return self.folder / place_of(file_id)

    def contents(self, after: str = "") -> Iterator[Content]:
        for folder in sorted(self.folder.glob("??")):
            if folder.name < after[:2]:
                continue
            for path in sorted(folder.glob("file_*")):
                place = f"{folder.name}/{path.name}"
                if place > after and is_id(path.name, "file"):
                    try:
                        yield Content(path.name, place, path.stat().st_mtime)
                    except FileNotFoundError:
                        continue  # deleted in between

    def remove_partials(self, older_than_s: float = 86_400) -> int:
        """Remove what uploads that were killed have left; returns how many."""
        removed = 0
        for partial in self.folder.glob("*/*.partial"):
            try:
                if time.time() - partial.stat().st_mtime > older_than_s:
                    partial.unlink()
                    removed += 1
            except FileNotFoundError:
                continue  # its upload ended in between
        with contextlib.suppress(FileNotFoundError):
            if time.time() - self.held.stat().st_mtime > HOLD_LAPSES_S:
                shutil.rmtree(self.held, ignore_errors=True)  # of a backup that was killed
        return removed


class LocalUpload:
    """Writes beside the final place and renames; see ``Upload``."""

    def __init__(self, path: Path, limit: int | None) -> None:
        self._path, self._limit = path, limit
        self._partial = path.with_name(f"{path.name}.{os.urandom(6).hex()}.partial")
        self._digest = hashlib.sha256()
        self._size = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._partial.open("xb", buffering=0)
        return self

    def write(self, chunk: bytes) -> None:
        if self._file is None:
            raise ValueError("the upload is not open")
        if self._limit is not None and self._size + len(chunk) > self._limit:
            raise TooLarge(f"A file may have at most {self._limit:,} bytes.")
        self._size += len(chunk)
        self._digest.update(chunk)
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise full_or(error) from error

    def commit(self) -> Stored:
        if self._file is None:
            raise ValueError("the upload is not open")
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise full_or(error) from error
        self._file.close()
        self._file = None
        self._partial.rename(self._path)
        _sync_folder(self._path.parent)
        return Stored(self._size, self._digest.hexdigest())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self._partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def full_or(error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("The object store has no room for the file; delete some, or give it more room.")
    return error
