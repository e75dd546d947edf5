"""Finished pieces of speech, kept until the job succeeds: a retry pays only for what is missing.

They lie in the object store, so that any worker finds them, and expire by themselves. They are known by their
owner and by everything that decides how they sound, so that a job that repeats a failed one finds them too.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from callboard_shared.errors import LedgerError, NotFound
from callboard_shared.files import Files, StorageFull
from callboard_shared.ledger import Ledger, modelling
from callboard_shared.models import Checkpoint, Part

log = structlog.get_logger(__name__)

_KEEP_MS = 24 * 3600 * 1000
_READ_BYTES = 1024 * 1024


def piece_key(provider: str, voice: str, settings: str, text: str) -> str:
    """What tells a piece from every other: the sha256 of all that decides how it sounds."""
    return hashlib.sha256("\0".join([provider, voice, settings, text]).encode()).hexdigest()


class KeptPieces:
    """Blocking. A piece is a checkpoint of one file, named by owner and key instead of a training job."""

    def __init__(self, ledger: Ledger, files: Files) -> None:
        self._ledger, self._files = ledger, files

    def find(self, owner: str, keys: Sequence[str]) -> dict[str, Part]:
        """The pieces that are kept, by key. Raises LedgerError."""
        found: dict[str, Part] = {}
        answers = self._ledger.run_many([modelling.checkpoints(_name(owner, key)) for key in keys])
        for key, answer in zip(keys, answers, strict=True):
            if isinstance(answer, LedgerError):
                raise answer
            if answer:
                found[key] = answer[0].files[0]
        return found

    def fetch(self, part: Part, target: Path) -> bool:
        """Bring a piece here; False if it is gone or damaged."""
        digest = hashlib.sha256()
        try:
            with target.open("wb") as file:
                for chunk in self._files.read(part.id):
                    digest.update(chunk)
                    file.write(chunk)
        except NotFound:
            return False
        return digest.hexdigest() == part.sha256

    def keep(self, owner: str, key: str, job_id: str, path: Path) -> None:
        """Store a finished piece. The speech itself can do without, so trouble is only logged."""
        expires_ms = time.time_ns() // 1_000_000 + _KEEP_MS
        try:
            with path.open("rb") as content:
                record = self._files.put_stream(
                    owner, "piece", iter(lambda: content.read(_READ_BYTES), b""), purpose="speech-piece",
                    job_id=job_id, expires_ms=expires_ms,
                )  # fmt: skip
            part = Part("piece", record.id, record.bytes, record.sha256, record.media_type)
            checkpoint = Checkpoint(owner, _name(owner, key), 1, 0, (part,))
            call = modelling.save_checkpoint(
                checkpoint, [record], keep=1, expires_ms=expires_ms, ttl_ms=_KEEP_MS
            )
            _, replaced = self._ledger.run(call)
            self._delete(replaced)
        except (LedgerError, StorageFull) as error:
            log.warning("speech.piece_not_kept", job=job_id, reason=error.problem_code)

    def forget(self, owner: str, keys: Sequence[str]) -> None:
        """When the speech is committed; what cannot be forgotten now expires."""
        try:
            answers = self._ledger.run_many([modelling.forget_checkpoints(_name(owner, key)) for key in keys])
        except LedgerError as error:
            log.warning("speech.pieces_not_forgotten", reason=error.problem_code)
            return
        for answer in answers:
            if not isinstance(answer, LedgerError):
                self._delete(answer)

    def _delete(self, checkpoints: Sequence[Checkpoint]) -> None:
        for checkpoint in checkpoints:
            for part in checkpoint.files:
                self._files.delete(part.id)


def _name(owner: str, key: str) -> str:
    return f"speech:{owner}:{key}"
