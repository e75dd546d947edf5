"""The files that a job's input gives, opened: uploaded ones, those at a URL, and those within the request."""

from __future__ import annotations

import base64
import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from callboard_shared.errors import FinalError, NotFound
from callboard_shared.files import FileRecord, Files, LocalStore
from callboard_shared.jobs.base import FileInput
from callboard_shared.object_store import full_or
from callboard_shared.settings import OutboundSettings


class Fetch(Protocol):
    """Writes what is at a URL, at most ``max_bytes``, into a file, and gives its name. Calls ``check`` meanwhile."""

    def __call__(self, url: str, into: BinaryIO, max_bytes: int | None, check: Callable[[], None]) -> str: ...


def fetched(url: str, into: BinaryIO, max_bytes: int | None, check: Callable[[], None]) -> str:
    """By the guarded client, as the operator's settings allow."""
    from callboard_shared.outbound import FetchLimits, fetch  # httpx, which most jobs do without

    settings = OutboundSettings()
    return fetch(url, settings.policy, FetchLimits.of(settings, max_bytes), into, check=check).name


class OpenedFile:
    """``name``: as it was uploaded, or of the URL; ``content`` can be sought in. To be used in a ``with`` block."""

    def __init__(self, name: str, content: BinaryIO) -> None:
        self.name, self.content = name, content

    @property
    def path(self) -> Path:
        """A file on this machine, for what reads no other; there until the ``with`` block ends, and not to be
        changed. Its name has no suffix: what it is, ``name`` and its bytes say."""
        if not isinstance(getattr(self.content, "name", None), str):
            copy = _scratch(None)
            self.content.seek(0)
            shutil.copyfileobj(self.content, copy)
            copy.flush()
            copy.seek(0)
            self.content.close()
            self.content = copy
        return Path(self.content.name)

    def __enter__(self) -> OpenedFile:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(FileNotFoundError):  # the sweep removed it, after a day
            self.content.close()


class Inputs:
    """Opens what the jobs of ``owner`` name. ``check`` raises when there is no point in going on."""

    def __init__(
        self,
        owner: str,
        files: Files,
        find_file: Callable[[str], FileRecord | None],
        fetch: Fetch,
        check: Callable[[], None],
    ) -> None:
        self._owner, self._files, self._find_file = owner, files, find_file
        self._fetch, self._check = fetch, check
        self._brought: dict[str, OpenedFile] = {}
        self._over = False

    def open(self, given: FileInput, max_bytes: int | None) -> OpenedFile:
        """See ``Context.open_file``."""
        if given.base64 is not None:
            return self._within_the_request(given.base64, max_bytes)
        if given.url is not None:
            brought = self._brought.get(given.url)
            return self._at_a_url(given.url, max_bytes) if brought is None else _again(brought, max_bytes)
        return self._uploaded(given.file_id or "", max_bytes)

    def bring(self, given: FileInput, max_bytes: int | None) -> None:
        """See ``Context.bring``."""
        if given.url is not None:
            self._brought[given.url] = self._at_a_url(given.url, max_bytes)
            if self._over:
                self.close()

    def close(self) -> None:
        """Let go of what was brought, and end what is still being fetched."""
        self._over = True
        while self._brought:
            with self._brought.popitem()[1]:
                pass

    def _check_wanted(self) -> None:
        self._check()
        if self._over:
            raise FinalError("The attempt that wanted this file is over.", code="not-wanted")

    def _within_the_request(self, text: str, max_bytes: int | None) -> OpenedFile:
        try:
            content = base64.b64decode(text, validate=True)
        except ValueError as error:  # also of a text that is not ASCII
            raise FinalError(f"The base64 cannot be decoded: {error}.", code="invalid-base64") from None
        _check_size(len(content), max_bytes)
        return OpenedFile("file", io.BytesIO(content))

    def _at_a_url(self, url: str, max_bytes: int | None) -> OpenedFile:
        content = _scratch(self._files)
        try:
            name = self._fetch(url, content, max_bytes, self._check_wanted)
            content.flush()
            content.seek(0)
        except OSError as error:
            content.close()
            raise full_or(error) from error
        except BaseException:
            content.close()
            raise
        return OpenedFile(name, content)

    def _uploaded(self, file_id: str, max_bytes: int | None) -> OpenedFile:
        record = self._find_file(file_id)
        if record is not None and record.owner == self._owner:
            _check_size(record.bytes, max_bytes)
            try:
                return OpenedFile(record.name, self._files.store.open(record.id))
            except NotFound:
                pass  # deleted just now
        raise FinalError(
            f"There is no file {file_id[:40]!r}; it may have been deleted since the job was submitted. Upload it "
            "with POST /v1/files and submit the job again.",
            code="file-not-found",
        )


def _again(brought: OpenedFile, max_bytes: int | None) -> OpenedFile:
    """The same file, to be read from its beginning and closed by itself."""
    _check_size(brought.path.stat().st_size, max_bytes)
    return OpenedFile(brought.name, brought.path.open("rb"))


def _check_size(size: int, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        raise FinalError(
            f"The file has {size:,} bytes; here it may have {max_bytes:,}. Give a smaller one.",
            code="file-too-large",
        )


def _scratch(files: Files | None) -> BinaryIO:
    """A file that is gone when it is closed; beside the contents, where there is room for large ones, if they are in
    a folder. By its name the sweep removes what a killed process leaves."""
    folder: Path | None = None
    if files is not None and isinstance(files.store, LocalStore):
        folder = files.store.folder / "fetched"
        folder.mkdir(parents=True, exist_ok=True)
    return cast(BinaryIO, tempfile.NamedTemporaryFile(dir=folder, prefix="callboard-", suffix=".partial"))
