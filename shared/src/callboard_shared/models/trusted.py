"""Which pickled weights may be read. A pickle runs code when it is read, so none is unless somebody vouches for it:
the operator, by listing its sha256."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from callboard_shared.settings import Settings

_SHA256 = re.compile(r"[0-9a-f]{64}")


class TrustSettings(Settings):
    """Which weights of ultralytics (``.pt``, pickles) may be read though they were not trained here."""

    vision_trusted_weights: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="sha256 of `.pt` files that may be read; comma-separated. Reading one runs what is in it.",
    )

    @field_validator("vision_trusted_weights", mode="before")
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(part.strip().lower() for part in value.split(",") if part.strip())

    @field_validator("vision_trusted_weights")
    @classmethod
    def _digests(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for digest in value:
            if not _SHA256.fullmatch(digest):
                raise ValueError(
                    f"{digest!r} is no sha256: 64 hexadecimal digits, as `sha256sum FILE` prints them"
                )
        return value


def sha256_of(path: Path) -> str:
    """In hexadecimal. A file that has not changed is read once. Raises OSError."""
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=256)
def _digest(path: Path, size: int, changed_ns: int, inode: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
