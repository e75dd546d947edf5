"""The object store in a bucket of S3, or of a server that speaks its protocol (MinIO, Ceph, R2, …), by ``obstore``.

(https://developmentseed.org/obstore) Contents lie under PREFIX as they do in the local folder. What is written goes up
in parts of 8 MiB while it comes in, so that no more of it is held than a few of them; it is there when the last one
is. An upload that is given up leaves its parts to the bucket's rule for incomplete multipart uploads.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store as Bucket
from pydantic import AliasChoices, Field, SecretStr

from callboard_shared.errors import NotFound, TooLarge
from callboard_shared.object_store import Content, StorageAway, Stored, place_of
from callboard_shared.settings import Settings

if TYPE_CHECKING:
    from obstore import WritableFile

PART_BYTES = 8 * 1024**2
"""S3 takes 10,000 parts: files of up to 80 GB."""
AT_ONCE = 2
READ_BYTES = 1024**2
LIST = 500


class S3Settings(Settings):
    """Who may use the bucket, by AWS' own names; without keys, as AWS' tools find out (roles, instance metadata)."""

    access_key_id: str | None = Field(
        default=None, validation_alias="AWS_ACCESS_KEY_ID", description="Of the object store in S3."
    )
    secret_access_key: SecretStr | None = Field(
        default=None, validation_alias="AWS_SECRET_ACCESS_KEY", description="Of the object store in S3."
    )
    session_token: SecretStr | None = Field(
        default=None, validation_alias="AWS_SESSION_TOKEN", description="Where the two above are temporary."
    )
    region: str = Field(
        default="us-east-1",
        validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"),
        description="The bucket's region.",
    )
    endpoint_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        description="Another server than AWS', such as http://minio:9000; AWS_ENDPOINT_URL does as well.",
    )


class S3Store:
    """A bucket; see ``ObjectStore``."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    @classmethod
    def at(cls, url: str, settings: S3Settings | None = None) -> S3Store:
        """By ``s3://BUCKET/PREFIX``. Asks nothing of the server yet."""
        settings = settings or S3Settings()
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        options: dict[str, Any] = {"region": settings.region}
        if settings.access_key_id and settings.secret_access_key:
            options["access_key_id"] = settings.access_key_id
            options["secret_access_key"] = settings.secret_access_key.get_secret_value()
        if settings.session_token:
            options["session_token"] = settings.session_token.get_secret_value()
        if settings.endpoint_url:
            options["endpoint"] = settings.endpoint_url
        plain = (settings.endpoint_url or "").startswith("http://")
        return cls(
            Bucket(
                bucket,
                prefix=prefix.strip("/") or None,
                client_options={"allow_http": plain, "connect_timeout": "5s", "timeout": "60s"},
                retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=60)},
                **options,
            )
        )

    def begin(self, file_id: str, limit: int | None = None) -> S3Upload:
        return S3Upload(self._bucket, place_of(file_id), limit)

    def open(self, file_id: str) -> BinaryIO:
        place = place_of(file_id)
        with _errors(file_id):
            size = obstore.head(self._bucket, place)["size"]
        return io.BufferedReader(Reading(self._bucket, place, size), READ_BYTES)

    def delete(self, file_id: str) -> bool:
        place = place_of(file_id)
        try:
            with _errors(file_id):
                obstore.head(self._bucket, place)
                obstore.delete(self._bucket, place)
        except NotFound:
            return False
        return True

    def contents(self, after: str = "") -> Iterator[Content]:
        with _errors():
            for page in obstore.list(self._bucket, offset=after or None, chunk_size=LIST):
                for one in page:
                    place = one["path"]
                    if place == _place(place):
                        yield Content(place[3:], place, one["last_modified"].timestamp())

    def remove_partials(self, older_than_s: float = 86_400) -> int:
        return 0  # the bucket's own rule does that (AbortIncompleteMultipartUpload)


def _place(path: str) -> str | None:
    """The same, if it is a content's."""
    try:
        return place_of(path[3:])
    except NotFound:
        return None


class S3Upload:
    """Counts, hashes, and sends in parts; see ``Upload``."""

    def __init__(self, bucket: Bucket, place: str, limit: int | None) -> None:
        self._bucket, self._place, self._limit = bucket, place, limit
        self._digest = hashlib.sha256()
        self._size = 0
        self._writer: WritableFile | None = None

    def __enter__(self) -> Self:
        self._writer = obstore.open_writer(
            self._bucket, self._place, buffer_size=PART_BYTES, max_concurrency=AT_ONCE
        )
        return self

    def write(self, chunk: bytes) -> None:
        if self._writer is None:
            raise ValueError("the upload is not open")
        if self._limit is not None and self._size + len(chunk) > self._limit:
            raise TooLarge(f"A file may have at most {self._limit:,} bytes.")
        with _errors():
            self._writer.write(chunk)
        self._size += len(chunk)
        self._digest.update(chunk)

    def commit(self) -> Stored:
        if self._writer is None:
            raise ValueError("the upload is not open")
        writer, self._writer = self._writer, None
        with _errors():
            writer.close()
        return Stored(self._size, self._digest.hexdigest())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer = None  # closing it would store what is there so far


class Reading(io.RawIOBase):
    """A content, streamed from wherever it is read."""

    def __init__(self, bucket: Bucket, place: str, size: int) -> None:
        super().__init__()
        self._bucket, self._place, self._size = bucket, place, size
        self._at = 0
        self._pieces: Iterator[bytes] | None = None
        self._rest = memoryview(b"")

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        if not self._rest:
            self._rest = memoryview(self._next())
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        self._at += len(taken)
        return len(taken)

    def seek(self, offset: int, whence: int = 0) -> int:
        at = max(0, offset + (0, self._at, self._size)[whence])
        if at != self._at:
            self._at, self._pieces, self._rest = at, None, memoryview(b"")
        return at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def _next(self) -> bytes:
        with _errors(self._place[3:]):
            if self._pieces is None:
                got = obstore.get(self._bucket, self._place, options={"range": {"offset": self._at}})
                self._pieces = iter(got.stream(min_chunk_size=READ_BYTES))
            return next(self._pieces, b"")


_process = 0


def _check_process() -> None:
    """obstore's threads do not survive a fork, and a child would wait for them for ever: a program that forks workers
    uses the bucket in them only."""
    global _process
    _process = _process or os.getpid()
    if _process != os.getpid():
        raise RuntimeError("the bucket was used before this process was forked; use it in the child alone")


@contextmanager
def _errors(file_id: str | None = None) -> Iterator[None]:
    """obstore's errors as the object store's; ``file_id``: the content that may be missing."""
    _check_process()
    try:
        yield
    except (BaseError, OSError) as error:
        if file_id is not None and isinstance(error, FileNotFoundError):
            raise NotFound(f"There is no content of {file_id}.") from None
        raise StorageAway(
            f"The object store (S3) refuses, or does not answer ({type(error).__name__}). Try again in a moment; if it "
            "stays so, look at CALLBOARD_FILES_URL and the AWS_… variables.",
            retry_after_s=5,
        ) from error
