"""The zip of a data set. It is judged by its directory before anything is unpacked, and held to it while it is read.

Nothing is ever written under a name that stands in a zip: names are keys here, and no more.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast
from unicodedata import category

from callboard_vision.data.faults import Faults

_MIB = 1024 * 1024
_LONGEST_PATH = 1024
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Others may ask for gigabytes of memory to unpack a few bytes (LZMA's dictionary)."""
_DRIVE = re.compile(r"^[A-Za-z]:")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")
_OF_SYSTEMS = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a zip. ``ratio``: unpacked bytes to packed ones, of what is larger than ``free_bytes``."""

    entries: int = 500_000
    directory_bytes: int = 32 * _MIB
    total_bytes: int = 50 * 1024 * _MIB
    file_bytes: int = 64 * _MIB
    ratio: int = 200
    free_bytes: int = 64 * _MIB


class Unreadable(ValueError):
    """A file of the zip cannot be read; says why."""


class Archive:
    """The files of a zip by path: ``/`` between folders, and none that is absolute or leads out.

    Raises FinalError ``dataset-invalid``, of the zip's own faults all at once.
    """

    def __init__(self, content: BinaryIO, faults: Faults, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._zip = _opened(content, faults, self._limits)
        self._entries: dict[str, zipfile.ZipInfo] = {}
        self.archives: list[str] = []
        """Zips and the like within, which are left as they are."""
        total = 0
        for info in self._zip.infolist():
            path = _checked(info, faults, self._limits)
            total += info.file_size
            if path is None or info.is_dir():
                continue
            if path in self._entries:
                faults.add("The zip holds two files of this name.", path)
            if path.lower().endswith(_ARCHIVES):
                self.archives.append(path)
            elif not _is_of_a_system(path):
                self._entries[path] = info
        if total > self._limits.total_bytes:
            faults.add(
                f"Unpacked, the zip is {total // _MIB} MiB large; at most {self._limits.total_bytes // _MIB} are taken."
            )
        faults.check()
        self._left = self._limits.total_bytes
        self.paths = sorted(self._entries)

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    def read(self, path: str, most: int | None = None) -> bytes:
        """A file, of at most ``most`` bytes. Raises Unreadable."""
        most = self._limits.file_bytes if most is None else most
        info = self._entries[path]
        if info.file_size > most:
            raise Unreadable(f"It is {info.file_size} bytes large; at most {most} are taken.")
        try:
            with self._zip.open(info) as file:
                data = file.read(info.file_size + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            NotImplementedError,
            RuntimeError,
            ValueError,  # the directory may say that a file begins before the zip does
        ) as error:
            raise Unreadable(f"It cannot be unpacked: {error}.") from None
        self._left -= len(data)
        if len(data) != info.file_size or self._left < 0:
            raise Unreadable("It is not as large as the zip's directory says.")
        return data


class _Sipped(io.RawIOBase):
    """The zip, of which nobody reads more at once than a directory may be large: its size is the zip's own word."""

    def __init__(self, content: BinaryIO, most: int) -> None:
        self._content, self._most = content, most

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        return self._content.tell()

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._most + 1 if size is None or size < 0 or size > self._most else size
        data = self._content.read(wanted)
        if len(data) > self._most:
            raise zipfile.BadZipFile("its directory is too large")
        return data


def _opened(content: BinaryIO, faults: Faults, limits: Limits) -> zipfile.ZipFile:
    content.seek(0)
    if content.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
        faults.add("This is no zip. Give a zip of data.yaml, images/… and labels/…")
        faults.check()
    try:
        archive = zipfile.ZipFile(cast(BinaryIO, _Sipped(content, limits.directory_bytes)))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        faults.add(f"The zip cannot be read: {error}. Is it whole?")
        faults.check()
        raise
    if len(archive.infolist()) > limits.entries:
        faults.add(f"The zip holds {len(archive.infolist())} files; at most {limits.entries} are taken.")
        faults.check()
    return archive


def _checked(info: zipfile.ZipInfo, faults: Faults, limits: Limits) -> str | None:
    """Its path as it is meant; None after a fault."""
    shown = info.orig_filename.encode("unicode_escape").decode()
    fault = next(_faults_of(info, limits), None)
    if fault is not None:
        faults.add(fault, shown)
        return None
    return "/".join(_parts(info.orig_filename))


def _faults_of(info: zipfile.ZipInfo, limits: Limits) -> Iterator[str]:
    name = info.orig_filename
    parts = _parts(name)
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        yield "The path is absolute. Pack the folder itself, so that paths begin in it."
    if ".." in parts:
        yield "The path leads out of the zip ('..')."
    if not parts or len(name) > _LONGEST_PATH or any(category(one) in ("Cc", "Cs") for one in name):
        yield "The name is empty, too long, or holds control characters."
    if info.flag_bits & 0x1:
        yield "It is encrypted. Pack the data set without a password."
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        yield "It is a link or a device. Pack the files themselves (zip without -y)."
    if info.compress_type not in _METHODS:
        yield "It is packed by a method that is not taken. Pack with deflate, as every zip program does by itself."
    if info.file_size > limits.free_bytes and info.file_size > limits.ratio * max(1, info.compress_size):
        yield f"It unpacks to {info.file_size // max(1, info.compress_size)} times its size, as zip bombs do."


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]


def _is_of_a_system(path: str) -> bool:
    return any(part.startswith(".") or part.lower() in _OF_SYSTEMS for part in path.split("/"))
