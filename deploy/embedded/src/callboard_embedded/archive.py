"""The file that a backup is: a gzipped tar of a stack's folder, with a manifest as its last member.

Written and read as a stream. ``Writer`` counts and hashes what goes in, ``unpack`` what comes out, and only what the
manifest says of each part is taken.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from callboard_embedded.folder import Refused

FORMAT = 1
MANIFEST = "manifest.json"
PARTS = {
    "api-key": "secrets",
    "valkey.conf": "secrets",
    "valkey": "ledger",
    "files": "files",
    "models": "models",
}
"""What of a stack's folder is kept, and as which part. Not: logs, run, lock, demo, all of which are made again."""
_CHUNK = 1024 * 1024
_MOST_MANIFEST = 1024 * 1024
_UNREADABLE = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)


class Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Part:
    """sha256: over each file's name, mode and content, in the archive's order."""

    files: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """schema: the version of the ledger's layout; files_url: the bucket where the files are, if not in here."""

    callboard: str
    schema: int
    made_at: str
    parts: dict[str, Part]
    files_url: str | None = None
    format: int = FORMAT

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=2).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Raises Refused for another format."""
        try:
            document = json.loads(data)
            if document["format"] != FORMAT:
                raise Refused(
                    f"The backup is of format {document['format']}, and this Callboard reads format {FORMAT}. Restore "
                    f"it with the Callboard that made it ({document['callboard']}), or a newer one."
                )
            parts = {name: Part(**part) for name, part in document["parts"].items()}
            return cls(
                document["callboard"], document["schema"], document["made_at"], parts, document["files_url"]
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refused(f"The backup's manifest cannot be read ({error}). Take another backup.") from error


class Sums:
    """Counts and hashes files by part, as they pass."""

    def __init__(self) -> None:
        self._digests = {name: hashlib.sha256() for name in sorted(set(PARTS.values()))}
        self._counts = dict.fromkeys(self._digests, (0, 0))

    def passing(self, part: str, name: str, mode: int, size: int, source: Source) -> Counted:
        files, total = self._counts[part]
        self._counts[part] = (files + 1, total + size)
        self._digests[part].update(f"{name}\0{mode:o}\0{size}\0".encode())
        return Counted(source, self._digests[part])

    def parts(self) -> dict[str, Part]:
        return {name: Part(*self._counts[name], digest.hexdigest()) for name, digest in self._digests.items()}


class Counted:
    """A source whose bytes are hashed as they are read."""

    def __init__(self, source: Source, digest: hashlib._Hash) -> None:
        self._source, self._digest = source, digest

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._source.read(size)
        self._digest.update(chunk)
        return chunk


class Writer:
    """Adds files, and at last the manifest."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive, self._sums = archive, Sums()

    def add(self, name: str, opened: BinaryIO, source: Source | None = None, mode: int | None = None) -> None:
        """The open file, under this name; ``source``: what its bytes are read by; ``mode``: if not its own."""
        member = _member(name, os.fstat(opened.fileno()), mode)
        part = PARTS[PurePosixPath(name).parts[0]]
        content = self._sums.passing(part, name, member.mode, member.size, source or opened)
        self._archive.addfile(member, content)

    def add_text(self, name: str, text: str) -> None:
        member, data = tarfile.TarInfo(name), text.encode()
        member.size, member.mode = len(data), 0o600
        part = PARTS[PurePosixPath(name).parts[0]]
        self._archive.addfile(member, self._sums.passing(part, name, member.mode, len(data), BytesIO(data)))

    def finish(self, callboard: str, schema: int, made_at: str, files_url: str | None) -> Manifest:
        manifest = Manifest(callboard, schema, made_at, self._sums.parts(), files_url)
        data = manifest.to_json()
        member = tarfile.TarInfo(MANIFEST)
        member.size, member.mode = len(data), 0o600
        self._archive.addfile(member, BytesIO(data))
        return manifest


@contextmanager
def writing(target: BinaryIO) -> Iterator[Writer]:
    """An archive that goes to ``target`` as it is made. Level 1: pictures, sound and models are no smaller at 9."""
    with (
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=target) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        yield Writer(archive)


def unpack(source: BinaryIO, into: Path) -> Manifest:
    """Writes the archive's files below ``into``, which is empty, and holds them against the manifest.

    Raises Refused for whatever is not as ``Writer`` writes it: damaged or cut short, a link, a device, a name that
    leads elsewhere, a file that the manifest does not count. What is in ``into`` then is the caller's to remove.
    """
    sums, manifest = Sums(), None
    try:
        with gzip.GzipFile(fileobj=source) as packed, tarfile.open(fileobj=packed, mode="r|") as archive:
            for member in archive:
                if manifest is not None:
                    raise Refused("The backup goes on behind its manifest; it was changed after it was made.")
                content = _content(archive, member)
                if member.name == MANIFEST:
                    manifest = Manifest.from_json(content.read(_MOST_MANIFEST))
                else:
                    _write(member, content, into, sums)
    except _UNREADABLE as error:
        raise Refused(f"The backup is damaged or cut short ({error}). Take another one.") from error
    if manifest is None:
        raise Refused("The backup has no manifest: it was cut short, or Callboard did not make it.")
    damaged = [name for name, part in sums.parts().items() if manifest.parts.get(name) != part]
    if damaged:
        raise Refused(f"The backup is damaged in {', '.join(damaged)}: the sums are not the manifest's.")
    return manifest


def _member(name: str, facts: os.stat_result, mode: int | None) -> tarfile.TarInfo:
    """Without the names and numbers of this machine's users."""
    member = tarfile.TarInfo(name)
    member.size, member.mtime = facts.st_size, facts.st_mtime
    member.mode = stat.S_IMODE(facts.st_mode) & 0o755 if mode is None else mode
    return member


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Source:
    """Raises Refused for what is no plain file in its place."""
    path = PurePosixPath(member.name)
    plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and member.sparse is None
    known = member.name == MANIFEST or (path.parts[:1] and path.parts[0] in PARTS)
    straight = (
        path.as_posix() == member.name and not {".", ".."} & set(path.parts) and "\0" not in member.name
    )
    content = archive.extractfile(member) if plain and known and straight else None
    if content is None:
        raise Refused(
            f"The backup holds {member.name[:80]!r}, which is no plain file of a stack's folder. Callboard "
            "did not make it so."
        )
    return content


def _write(member: tarfile.TarInfo, content: Source, into: Path, sums: Sums) -> None:
    mode = member.mode & 0o755
    path = into / member.name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = PARTS[PurePosixPath(member.name).parts[0]]
    counted = sums.passing(part, member.name, member.mode, member.size, content)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise Refused(f"The backup holds {member.name!r} twice.") from None
    with os.fdopen(handle, "wb") as file:
        while chunk := counted.read(_CHUNK):
            file.write(chunk)
        os.fchmod(handle, 0o600 if part == "secrets" else mode | 0o600)
    os.utime(path, (member.mtime, member.mtime))
