"""What was trained here: a model of a key's own with its versions, and a checkpoint on the way to one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

import orjson

from callboard_shared.jobs.base import Task
from callboard_shared.lenient import known
from callboard_shared.models.info import ModelInfo


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a model or checkpoint. ``path`` is relative to its folder; ``id`` names it in the object store."""

    path: str
    id: str
    bytes: int
    sha256: str
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """``version`` counts from 1 and is given at publication (0 before it); ``details`` is what else is worth
    knowing, as JSON: base model, labels, number of rows."""

    owner: str
    name: str
    kind: str
    task: Task
    job_id: str
    created_ms: int
    files: tuple[Part, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    license: str | None = None
    version: int = 0

    @property
    def full_name(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(part.bytes for part in self.files)

    def reference(self, path: str) -> dict[str, Any]:
        """A ``FileReference`` to its file at ``path``, for the output of the job that made it; KeyError if it has
        none there."""
        part = {part.path: part for part in self.files}[path]
        return {
            "file_id": part.id,
            "media_type": part.media_type,
            "bytes": part.bytes,
            "sha256": part.sha256,
            "url": f"/v1/files/{part.id}/content",
        }

    def to_json(self) -> bytes:
        return orjson.dumps(asdict(replace(self, version=0)))

    @classmethod
    def from_json(cls, data: bytes, *, version: int) -> Self:
        document = orjson.loads(data)
        return cls(**{**known(cls, document), "files": _parts(document), "version": version})

    def info(self, *, loaded: bool = False) -> ModelInfo:
        """The entry of ``GET /v1/models``."""
        created = datetime.fromtimestamp(self.created_ms / 1000, UTC).isoformat(timespec="milliseconds")
        return ModelInfo(
            name=self.full_name, kind=self.kind, task=self.task, source="trained", bytes=self.size,
            license=self.license, metrics=self.metrics, loaded=loaded, created_at=created.replace("+00:00", "Z"),
            job_id=self.job_id, details=self.details,
            files=[
                {"path": part.path, "file_id": part.id, "media_type": part.media_type, "bytes": part.bytes,
                 "sha256": part.sha256, "url": f"/v1/files/{part.id}/content"}
                for part in self.files
            ],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``step``: how far training was, in its own units (optimizer steps, epochs)."""

    owner: str
    job_id: str
    attempt: int
    step: int
    files: tuple[Part, ...]

    def to_json(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        document = orjson.loads(data)
        return cls(**{**known(cls, document), "files": _parts(document)})


def _parts(document: dict[str, Any]) -> tuple[Part, ...]:
    return tuple(Part(**known(Part, part)) for part in document["files"])
