"""The model store, for workers: publishes what was trained, and brings it to this machine.

A model's files lie in the object store, so that every worker of every machine has them; the ledger's record names
them with their sha256. What is used here is kept in a cache folder and checked again each time it is loaded.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog

from callboard_shared.errors import FinalError, LedgerUnavailable, NotFound
from callboard_shared.files import FileRecord, Files
from callboard_shared.jobs.base import Task
from callboard_shared.ledger import Call, Ledger, modelling
from callboard_shared.models.trained import Checkpoint, Part, TrainedModel

log = structlog.get_logger(__name__)
T = TypeVar("T")

_DAY_MS = 86_400_000
_PATIENCE_S = 120.0
"""What took hours to train is not given up because the ledger restarts."""


class ModelDamaged(FinalError):
    """A file of the model is not what was published (or is gone)."""

    code = "model-damaged"


class ModelStore:
    """``cache``: this machine's folder, shared by its workers; ``cache_bytes``: what may lie there."""

    def __init__(self, ledger: Ledger, files: Files, cache: Path, cache_bytes: int = 20 * 1024**3) -> None:
        self._ledger, self._files, self._cache, self._cache_bytes = (
            ledger,
            files,
            cache / "trained",
            cache_bytes,
        )

    def find(self, owner: str, name: str) -> TrainedModel | None:
        """The owner's model; ``name`` without a version is the newest. Raises LedgerError."""
        return self._ledger.run(modelling.find_model(owner, name))

    def names(self, owner: str, tasks: Sequence[Task]) -> list[str]:
        """What the owner has for one of these tasks, newest first."""
        models = self._ledger.run(modelling.list_models(owner))
        return [model.full_name for model in models if model.task in tasks]

    def publish(
        self,
        folder: Path,
        *,
        owner: str,
        job_id: str,
        name: str,
        kind: str,
        task: Task,
        metrics: dict[str, float] | None = None,
        details: dict[str, Any] | None = None,
    ) -> TrainedModel:
        """Make the files of ``folder`` the next version of ``name``: whole or not at all, once a job.

        A later attempt of a job that has published already gets that model back.
        """
        records = self._stored(folder, owner, purpose="model", held_by="a model")
        model = TrainedModel(
            owner,
            name,
            kind,
            task,
            job_id,
            time.time_ns() // 1_000_000,
            _parts(records),
            metrics or {},
            details or {},
        )
        files = [record for _, record in records]
        published, before = self._patiently(modelling.publish_model(model, files))
        if before:
            self._delete(published_not := model.files)
            log.info(
                "model.published_before", model=published.full_name, job=job_id, dropped=len(published_not)
            )
        return published

    def folder(self, model: TrainedModel) -> Path:
        """A local folder with the model's files, each checked. Raises ModelDamaged."""
        return self._local(model.full_name, model.files)

    # --- checkpoints ---

    def save_checkpoint(
        self, folder: Path, *, owner: str, job_id: str, attempt: int, step: int, keep: int = 2
    ) -> bool:
        """Keep the files of ``folder`` as the job's newest checkpoint: whole or not at all.

        False if a later attempt of the job has saved one by now; then this one is thrown away.
        """
        week = 7 * _DAY_MS
        expires = time.time_ns() // 1_000_000 + week
        records = self._stored(
            folder, owner, purpose="checkpoint", held_by="a checkpoint", expires_ms=expires
        )
        checkpoint = Checkpoint(owner, job_id, attempt, step, _parts(records))
        files = [record for _, record in records]
        saved, gone = self._patiently(
            modelling.save_checkpoint(checkpoint, files, keep=keep, expires_ms=expires, ttl_ms=week)
        )
        self._delete(part for one in gone for part in one.files)
        if not saved:
            self._delete(checkpoint.files)
        return saved

    def restore_checkpoint(self, job_id: str, folder: Path) -> int | None:
        """Put the job's newest whole checkpoint into ``folder``, which must not exist, and tell its step.

        None if there is none. One whose files are damaged is passed over for the one before.
        """
        for checkpoint in self._patiently(modelling.checkpoints(job_id)):
            try:
                folder.mkdir(parents=True)
                for part in checkpoint.files:
                    self._fetch(part, folder / part.path)
                return checkpoint.step
            except (ModelDamaged, NotFound) as error:
                log.warning("checkpoint.damaged", job=job_id, step=checkpoint.step, reason=error.detail)
                shutil.rmtree(folder)
        return None

    def forget_checkpoints(self, job_id: str) -> None:
        """When the job has ended. What a kill leaves behind expires by itself."""
        for checkpoint in self._patiently(modelling.forget_checkpoints(job_id)):
            self._delete(checkpoint.files)

    # --- files ---

    def _stored(self, folder: Path, owner: str, **fields: Any) -> list[tuple[str, FileRecord]]:
        """(path, record) of each file, its content stored and its record not yet put."""
        stored: list[tuple[str, FileRecord]] = []
        try:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                with path.open("rb") as content:
                    pieces = iter(lambda: content.read(1024 * 1024), b"")
                    record = self._files.put_stream(owner, path.name, pieces, **fields)
                stored.append((path.relative_to(folder).as_posix(), record))
        except BaseException:
            for _, record in stored:
                self._files.delete(record.id)
            raise
        return stored

    def _delete(self, parts: Iterable[Part]) -> None:
        for part in parts:
            self._files.delete(part.id)

    def _fetch(self, part: Part, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with target.open("wb") as file:
            for piece in self._files.read(part.id):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != part.sha256:
            raise ModelDamaged(
                f"{part.path} in the object store is not what was stored (its sha256 differs)."
            )

    def _local(self, name: str, parts: Sequence[Part]) -> Path:
        key = hashlib.sha256("\n".join(f"{part.path} {part.sha256}" for part in parts).encode()).hexdigest()[
            :32
        ]
        target = self._cache / key
        self._cache.mkdir(parents=True, exist_ok=True)
        with _lock(self._cache / f"{key}.lock"):
            if target.is_dir() and all(_is_whole(target / part.path, part) for part in parts):
                os.utime(target)
                return target
            shutil.rmtree(target, ignore_errors=True)
            unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=self._cache))
            try:
                for part in parts:
                    self._fetch(part, unfinished / part.path)
                unfinished.rename(target)
            except NotFound:
                raise ModelDamaged(
                    f"Model {name} is not whole: a file of it is gone from the object store. Train it again."
                ) from None
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
        self._make_room(target)
        return target

    def _make_room(self, kept: Path) -> None:
        """Remove what was used longest ago until the cache fits; what is loaded already does not need its files."""
        folders = [
            (folder.stat().st_mtime, sum(file.stat().st_size for file in folder.rglob("*")), folder)
            for folder in self._cache.iterdir()
            if folder.is_dir() and not folder.name.startswith(".")
        ]
        total = sum(size for _, size, _ in folders)
        for _, size, folder in sorted(folders):
            if total <= self._cache_bytes:
                return
            if folder != kept:
                shutil.rmtree(folder, ignore_errors=True)
                total -= size

    def _patiently(self, call: Call[T]) -> T:
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self._ledger.run(call)
            except LedgerUnavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)


def _parts(records: Sequence[tuple[str, FileRecord]]) -> tuple[Part, ...]:
    return tuple(Part(path, one.id, one.bytes, one.sha256, one.media_type) for path, one in records)


def _is_whole(path: Path, part: Part) -> bool:
    try:
        with path.open("rb") as file:
            return (
                path.stat().st_size == part.bytes
                and hashlib.file_digest(file, "sha256").hexdigest() == part.sha256
            )
    except FileNotFoundError:
        return False


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
